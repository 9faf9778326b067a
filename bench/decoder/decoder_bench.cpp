// Steps of a decoder of a real shape with random weights on the CPU, beside the rate at which the
// same threads can read memory: what bounds decoding is the way of the weights.
//
//     bench_decoder [fp32 | bf16] [directory with a config.json]
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "checkpoint/model_files.h"
#include "kernels/peak.h"
#include "layers/random_source.h"
#include "models/plan.h"
#include "ops/cpu/cpu_ops.h"

namespace millrace::bench {
namespace {

constexpr int64_t kBlockSize = 32;
constexpr int64_t kMaxKeys = 2048;  // of a sequence
constexpr int64_t kMaxStreams = 16;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Bench {
  Bench(const std::string& directory, ComputeDType dtype)
      : config(ModelConfig::from_hf(read_config_texts(directory), directory)),
        pool(num_threads()),
        limits{.max_num_tokens = 512, .max_num_sequences = kMaxStreams, .max_seq_len = kMaxKeys} {
    const Target target = cpu_target(dtype, config.dtype);
    const ModelPlan plan = plan_model(config, limits, PlanSource(config.dtype), target);
    ops = std::make_unique<CpuOps>(pool, isa(), target.precision, plan.activation_bytes());
    source = std::make_unique<RandomSource>(config.dtype, 1, pool);
    ParameterList list;
    model = make_model(Params(*source, *ops, list), config, limits);
    const KvCacheSpec& kv = model->kv_cache_spec();
    ops->allocate_kv_cache(kv, {.block_size = kBlockSize,
                                .num_blocks = std::vector<int64_t>(
                                    kv.groups.size(), kMaxStreams * kMaxKeys / kBlockSize)});
    const int64_t table = config.vocab_size * config.hidden_size;
    const bool tied = config.decoder->tie_word_embeddings;
    weight_bytes = (plan.parameters.numel() - (tied ? 0 : table)) * size_of(config.dtype);
    kv_bytes = kv.bytes_per_token(DType::kF32);
  }

  // Seconds of one step of `streams` sequences with `rows` new rows each, the last with `keys`.
  double step(int64_t streams, int64_t rows, int64_t keys) {
    Batch batch;
    const std::vector<int32_t> ids(static_cast<size_t>(rows), 1);
    KvBatch kv{.table_width = kMaxKeys / kBlockSize};
    for (int64_t s = 0; s < streams; ++s) {
      batch.append_rows(ids, keys - rows);
      batch.logits_rows.push_back(batch.cu_seqlens.back() - 1);
      for (int64_t i = 0; i < kv.table_width; ++i)
        kv.block_table.push_back(static_cast<int32_t>(s * kv.table_width + i));
      for (int64_t i = keys - rows; i < keys; ++i)
        kv.slot_mapping.push_back(static_cast<int32_t>(s * kMaxKeys + i));
    }
    batch.kv.assign(model->kv_cache_spec().groups.size(), kv);
    const double begin = now();
    ops->begin_step(batch);
    model->forward(*ops, batch);
    return now() - begin;
  }

  double median_step(int64_t streams, int64_t rows, int64_t keys, int count) {
    std::vector<double> times;
    for (int i = 0; i < count; ++i) times.push_back(step(streams, rows, keys));
    std::ranges::nth_element(times, times.begin() + count / 2);
    return times[static_cast<size_t>(count / 2)];
  }

  ModelConfig config;
  ThreadPool pool;
  StepLimits limits;
  std::unique_ptr<RandomSource> source;
  std::unique_ptr<CpuOps> ops;
  std::unique_ptr<Model> model;
  int64_t weight_bytes = 0;  // that each step reads
  int64_t kv_bytes = 0;      // of one position
};

void print_decode(Bench& bench, int64_t streams, int64_t keys) {
  const double before = read_bandwidth(bench.pool);
  const double seconds = bench.median_step(streams, 1, keys, 15);
  const double bandwidth = (before + read_bandwidth(bench.pool)) / 2;
  const double bytes = static_cast<double>(bench.weight_bytes + streams * keys * bench.kv_bytes);
  fmt::print(
      "decode {:>2} x 1 row, {:>4} keys: {:>7.2f} ms {:>8.1f} tokens/s {:>7.2f} GB/s = "
      "{:.2f} of {:.2f} GB/s\n",
      streams, keys, seconds * 1e3, static_cast<double>(streams) / seconds, bytes / seconds / 1e9,
      bytes / seconds / bandwidth, bandwidth / 1e9);
}

void print_prefill(Bench& bench, int64_t rows) {
  const double seconds = bench.median_step(1, rows, rows, 3);
  fmt::print("prefill {:>4} rows:           {:>7.2f} ms {:>8.1f} tokens/s\n", rows, seconds * 1e3,
             static_cast<double>(rows) / seconds);
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  using namespace millrace;
  const std::string dtype = argc > 1 ? argv[1] : "bf16";
  const std::string shape =
      argc > 2 ? argv[2] : MILLRACE_SOURCE_DIR "/bench/decoder/shapes/qwen3_0.6b";
  bench::Bench bench(shape, compute_dtype_from_name(dtype).value_or(ComputeDType::kBF16));
  fmt::print("{}, {}, {} threads: {:.2f} GB of weights a step\n", to_string(bench::isa()), dtype,
             bench.pool.num_threads(), static_cast<double>(bench.weight_bytes) / 1e9);
  for (const int64_t keys : {64, 1024})
    for (const int64_t streams : {1, 2, 4, 8, 16}) bench::print_decode(bench, streams, keys);
  for (const int64_t rows : {16, 128, 512}) bench::print_prefill(bench, rows);
  return 0;
}
