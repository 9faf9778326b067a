// Products of MiniLM's shapes: rate, share of the peak, and oneDNN beside.
#include "kernels/cpu/gemm.h"

#include <benchmark/benchmark.h>

#include "kernels/peak.h"
#include "tensor/buffer.h"

#if defined(MILLRACE_BENCH_ONEDNN)
#include <oneapi/dnnl/dnnl.hpp>
#endif

namespace millrace::bench {
namespace {

void minilm_shapes(benchmark::internal::Benchmark* benchmark) {
  for (auto [n, k] : {std::pair{1152, 384}, {384, 384}, {1536, 384}, {384, 1536}}) {
    for (int m : {8, 64, 256, 512, 1024}) benchmark->Args({m, n, k});
  }
  benchmark->ArgNames({"m", "n", "k"})->UseRealTime();
}

double flops_of(const benchmark::State& state) {
  return 2.0 * static_cast<double>(state.range(0) * state.range(1) * state.range(2));
}

void run_gemm(benchmark::State& state, const cpu::Factors& factors, cpu::Epilogue epilogue) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  ThreadPool pool(num_threads());
  const cpu::Kernels& kernels = cpu::kernels_for(isa());
  if (factors.x == DType::kBF16 && !cpu::has_bf16_products(isa())) {
    return state.SkipWithError("no products of bf16");
  }
  const auto weight = random_values(n * k);
  const auto bias = random_values(n);
  const std::vector<float> x = random_values(m * k);
  std::vector<uint16_t> x_bf16(static_cast<size_t>(m * k), 0x3f80);
  const Buffer packed = Buffer::host(cpu::packed_weight_bytes(kernels, factors, n, k));
  std::vector<float> out(static_cast<size_t>(m * n));
  const cpu::GemmArgs args{
      .m = m,
      .weight =
          cpu::pack_weight(kernels, pool, factors, weight.data(), DType::kF32, n, k, packed.data()),
      .x = factors.x == DType::kF32 ? static_cast<const void*>(x.data()) : x_bf16.data(),
      .x_stride = k,
      .bias = bias.data(),
      .epilogue = epilogue,
      .out = out.data(),
      .out_stride = n};
  FlopCounters counters(state, pool, flops_of(state));
  for (auto _ : state) {
    counters.start();
    cpu::gemm(kernels, pool, args);
    counters.stop();
  }
}

void Gemm(benchmark::State& state) {
  run_gemm(state, {}, cpu::Epilogue::kNone);
}
void GemmGelu(benchmark::State& state) {
  run_gemm(state, {}, cpu::Epilogue::kGelu);
}
void GemmBf16(benchmark::State& state) {
  run_gemm(state, {.x = DType::kBF16, .weight = DType::kBF16}, cpu::Epilogue::kNone);
}
void GemmBf16Weight(benchmark::State& state) {
  run_gemm(state, {.weight = DType::kBF16}, cpu::Epilogue::kNone);
}
BENCHMARK(Gemm)->Apply(minilm_shapes);
BENCHMARK(GemmGelu)->Apply(minilm_shapes);
BENCHMARK(GemmBf16)->Apply(minilm_shapes);
BENCHMARK(GemmBf16Weight)->Apply(minilm_shapes);

#if defined(MILLRACE_BENCH_ONEDNN)
// The inner product primitive with the weight in the layout of its own choice. Its threads are
// OpenMP's: OMP_NUM_THREADS is to be the same as ours.
void run_onednn(benchmark::State& state, dnnl::memory::data_type type) {
  using dnnl::memory;
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  ThreadPool pool(num_threads());
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc x_desc({m, k}, type, memory::format_tag::ab);
  const memory::desc weight_desc({n, k}, type, memory::format_tag::any);
  const memory::desc bias_desc({n}, memory::data_type::f32, memory::format_tag::a);
  const memory::desc out_desc({m, n}, memory::data_type::f32, memory::format_tag::ab);
  const dnnl::inner_product_forward::desc desc(dnnl::prop_kind::forward_inference, x_desc,
                                               weight_desc, bias_desc, out_desc);
  const dnnl::inner_product_forward::primitive_desc primitive_desc(desc, engine);
  memory x(x_desc, engine), weight(primitive_desc.weights_desc(), engine);
  memory bias(bias_desc, engine), out(out_desc, engine);
  memory plain({{n, k}, memory::data_type::f32, memory::format_tag::ab}, engine);
  std::fill_n(static_cast<float*>(plain.get_data_handle()), n * k, 0.5f);
  std::fill_n(static_cast<float*>(bias.get_data_handle()), n, 0.5f);
  const int64_t x_elements = type == memory::data_type::f32 ? m * k : m * k / 2;
  std::fill_n(static_cast<float*>(x.get_data_handle()), x_elements, 0.5f);
  dnnl::reorder(plain, weight).execute(stream, plain, weight);
  const dnnl::inner_product_forward primitive(primitive_desc);
  FlopCounters counters(state, pool, flops_of(state));
  for (auto _ : state) {
    counters.start();
    primitive.execute(stream, {{DNNL_ARG_SRC, x},
                               {DNNL_ARG_WEIGHTS, weight},
                               {DNNL_ARG_BIAS, bias},
                               {DNNL_ARG_DST, out}});
    stream.wait();
    counters.stop();
  }
}

void OneDnn(benchmark::State& state) {
  run_onednn(state, dnnl::memory::data_type::f32);
}
void OneDnnBf16(benchmark::State& state) {
  run_onednn(state, dnnl::memory::data_type::bf16);
}
BENCHMARK(OneDnn)->Apply(minilm_shapes);
BENCHMARK(OneDnnBf16)->Apply(minilm_shapes);
#endif

}  // namespace
}  // namespace millrace::bench
