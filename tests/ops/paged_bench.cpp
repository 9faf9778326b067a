// Attention over paged keys on a GPU: single tokens in replayed steps, and prompts, as share of the
// ceilings measured in the same run.
#include "ops/paged_bench.h"

#include <fmt/core.h>

#include <algorithm>
#include <iostream>
#include <numeric>

namespace millrace {

namespace {

constexpr int64_t kBlockSize = 32;
constexpr int64_t kMostCacheBytes = int64_t{24} << 30;

struct PagedCase {
  std::string name;
  HeadLayout heads;
  int64_t sequences = 1;
  int64_t rows = 1;  // of each
  int64_t keys = 1;  // of each
};

// Sequences whose blocks are in no order.
Batch batch_of(const PagedCase& c, cpu::Random& random) {
  const std::vector<SequenceLength> lengths(static_cast<size_t>(c.sequences),
                                            {.rows = c.rows, .keys = c.keys});
  Batch batch = decoder_batch(lengths, 1, kBlockSize);
  KvBatch& kv = batch.kv.front();
  std::iota(kv.block_table.begin(), kv.block_table.end(), 0);
  std::ranges::shuffle(kv.block_table, std::mt19937(random.seed()));
  batch.logits_rows.clear();
  return batch;
}

// Seconds of one layer's attention. Layers have memory of their own, so that no cache holds it.
double measure(TestDevice& device, const PagedCase& c) {
  Ops& ops = device.ops();
  cpu::Random random;
  const Batch batch = batch_of(c, random);
  const auto num_blocks = static_cast<int64_t>(batch.kv.front().block_table.size());
  const DType dtype = ops.precision().hidden;
  const int64_t layer_bytes =
      2 * num_blocks * kBlockSize * c.heads.num_kv_heads * c.heads.head_dim * size_of(dtype);
  const int64_t layers = std::clamp<int64_t>(kMostCacheBytes / layer_bytes, 2, 32);
  const KvLayerSpec layer{.num_kv_heads = c.heads.num_kv_heads, .head_dim = c.heads.head_dim};
  ops.allocate_kv_cache(
      {.groups = {{}}, .layers = std::vector<KvLayerSpec>(static_cast<size_t>(layers), layer)},
      {.block_size = kBlockSize, .num_blocks = {num_blocks}});
  // Rows are added to a step that is recorded; nobody reads what is computed of them.
  const int64_t most = batch.num_tokens() + 1024;
  const Tensor qkv =
      device.upload(random.normal(most * c.heads.width()), dtype, most).slice_rows(0, most);
  ops.finish_loading();
  const CausalAttention attention{.heads = c.heads,
                                  .scale = 1.0f / std::sqrt(static_cast<float>(c.heads.head_dim))};
  const auto forward = [&](const Batch& rows) {
    StepRows out;
    for (int64_t i = 0; i < layers; ++i) {
      const ArenaScope scope(ops.arena());
      out.logits = ops.paged_attention(qkv.slice_rows(0, rows.num_tokens()), rows,
                                       static_cast<size_t>(i), attention, ops.hidden_format())
                       .values;
    }
    return out;
  };
  device.run([&] { ops.run_step(batch, 0, forward); });
  return device.seconds() / static_cast<double>(layers);
}

double flops_of(const PagedCase& c) {
  const double pairs =
      static_cast<double>(c.sequences) *
      (static_cast<double>(c.rows * c.keys) - static_cast<double>(c.rows * (c.rows - 1)) / 2);
  return 4 * pairs * static_cast<double>(c.heads.q_width());
}

double bytes_of(const PagedCase& c, DType dtype) {
  const int64_t kv = 2 * c.keys * c.heads.num_kv_heads * c.heads.head_dim;
  return static_cast<double>(c.sequences * (kv + 2 * c.rows * c.heads.q_width()) * size_of(dtype));
}

std::vector<PagedCase> cases() {
  std::vector<PagedCase> all;
  for (const int64_t kv_heads : {8, 4}) {
    const HeadLayout heads{.num_heads = 32, .num_kv_heads = kv_heads, .head_dim = 128};
    for (const int64_t sequences : {1, 8, 64, 256}) {
      for (const int64_t keys : {1024, 8192}) {
        all.push_back({.name = fmt::format("decode {} x {}, {} heads of {}", sequences, keys,
                                           heads.num_heads, kv_heads),
                       .heads = heads,
                       .sequences = sequences,
                       .keys = keys});
      }
    }
  }
  const HeadLayout llama{.num_heads = 32, .num_kv_heads = 8, .head_dim = 128};
  const HeadLayout small{.num_heads = 32, .num_kv_heads = 8, .head_dim = 64};
  const HeadLayout gemma{.num_heads = 8, .num_kv_heads = 4, .head_dim = 256};
  all.push_back(
      {.name = "verify 5, 8 x 4096", .heads = llama, .sequences = 8, .rows = 5, .keys = 4096});
  all.push_back({.name = "decode 64 x 4096, 256", .heads = gemma, .sequences = 64, .keys = 4096});
  all.push_back({.name = "prefill 8192, 128", .heads = llama, .rows = 8192, .keys = 8192});
  all.push_back(
      {.name = "prefill 16 x 512, 128", .heads = llama, .sequences = 16, .rows = 512, .keys = 512});
  all.push_back({.name = "chunk 512 of 8192, 128", .heads = llama, .rows = 512, .keys = 8192});
  all.push_back({.name = "prefill 8192, 64", .heads = small, .rows = 8192, .keys = 8192});
  all.push_back({.name = "prefill 8192, 256", .heads = gemma, .rows = 8192, .keys = 8192});
  return all;
}

}  // namespace

void bench_paged_attention(const std::function<std::unique_ptr<TestDevice>()>& make,
                           double copy_rate, double product_rate) {
  fmt::print("| {:<34} | {:>9} | {:>7} | {:>7} | {:>10} |\n", "attention", "us", "GB/s", "TFLOP/s",
             "of ceiling");
  for (const PagedCase& c : cases()) {
    const auto device = make();
    const double seconds = measure(*device, c);
    const double bytes = bytes_of(c, device->ops().precision().hidden);
    const double flops = flops_of(c);
    const double floor = std::max(bytes / copy_rate, flops / product_rate);
    fmt::print("| {:<34} | {:>9.1f} | {:>7.0f} | {:>7.1f} | {:>9.0f}% |\n", c.name, seconds * 1e6,
               bytes / seconds / 1e9, flops / seconds / 1e12, 100 * floor / seconds);
    std::cout.flush();
  }
}

}  // namespace millrace
