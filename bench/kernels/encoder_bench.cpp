// What an encoder layer does besides products: attention and norms, and the pool's own cost.
#include <benchmark/benchmark.h>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/norm.h"
#include "kernels/peak.h"

namespace millrace::bench {
namespace {

// 12 heads of 32 over 512 tokens in sequences of one length.
void Attention(benchmark::State& state) {
  const int64_t length = state.range(0), head_dim = state.range(1);
  const int64_t heads = 384 / head_dim, seqs = std::max<int64_t>(1, state.range(2) / length);
  const int64_t width = heads * head_dim, tokens = seqs * length;
  ThreadPool pool(num_threads());
  const auto qkv = random_values(tokens * 3 * width);
  std::vector<float> out(static_cast<size_t>(tokens * width));
  std::vector<int32_t> cu_seqlens;
  for (int64_t s = 0; s <= seqs; ++s) cu_seqlens.push_back(static_cast<int32_t>(s * length));
  const cpu::AttentionArgs args{.q = qkv.data(),
                                .q_stride = 3 * width,
                                .k = qkv.data() + width,
                                .k_stride = 3 * width,
                                .v = qkv.data() + 2 * width,
                                .v_stride = 3 * width,
                                .cu_seqlens = cu_seqlens.data(),
                                .num_seqs = seqs,
                                .num_heads = heads,
                                .num_kv_heads = heads,
                                .head_dim = head_dim,
                                .scale = 0.2f,
                                .out = out.data(),
                                .out_stride = width};
  const cpu::Kernels& kernels = cpu::kernels_for(isa());
  FlopCounters counters(state, pool, 4.0 * static_cast<double>(tokens * length * width));
  for (auto _ : state) {
    counters.start();
    cpu::attention(kernels, pool, args);
    counters.stop();
  }
}
BENCHMARK(Attention)
    ->ArgNames({"length", "head_dim", "tokens"})
    ->ArgsProduct({{8, 32, 64, 128, 256, 512}, {32, 64}, {512}})
    ->Args({8, 32, 8})
    ->UseRealTime();

void AddLayerNorm(benchmark::State& state) {
  const int64_t rows = state.range(0), width = state.range(1);
  ThreadPool pool(num_threads());
  std::vector<float> hidden = random_values(rows * width);
  const auto delta = random_values(rows * width);
  const auto gamma = random_values(width);
  const cpu::LayerNormArgs args{.rows = rows,
                                .width = width,
                                .x = hidden.data(),
                                .x_stride = width,
                                .delta = delta.data(),
                                .delta_stride = width,
                                .norm = {.gamma = gamma.data(), .beta = gamma.data()},
                                .out = hidden.data(),
                                .out_stride = width};
  const cpu::Kernels& kernels = cpu::kernels_for(isa());
  for (auto _ : state) cpu::layer_norm(kernels, pool, args);
  state.SetBytesProcessed(state.iterations() * rows * width * 3 * 4);
  state.counters["ns_per_row"] =
      benchmark::Counter(static_cast<double>(rows), benchmark::Counter::kIsIterationInvariantRate |
                                                        benchmark::Counter::kInvert);
}
BENCHMARK(AddLayerNorm)->ArgNames({"rows", "width"})->ArgsProduct({{8, 512}, {384}})->UseRealTime();

void PoolRun(benchmark::State& state) {
  ThreadPool pool(num_threads());
  for (auto _ : state) pool.run([](int) {});
}
BENCHMARK(PoolRun)->UseRealTime();

}  // namespace
}  // namespace millrace::bench
