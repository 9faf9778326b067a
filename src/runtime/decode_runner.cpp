// Packing, forward, sampling.
#include "runtime/decode_runner.h"

#include <algorithm>

namespace millrace {

namespace {

KvBatch make_kv_batch(const DecodeStep& step, const BlockManager& blocks, size_t group) {
  KvBatch kv;
  const int64_t size = blocks.group_config(group).block_size;
  for (const DecodeItem& item : step.items)
    kv.table_width = std::max(kv.table_width,
                              static_cast<int64_t>(blocks.block_table(item.blocks, group).size()));
  kv.block_table.reserve(step.items.size() * static_cast<size_t>(kv.table_width));
  kv.slot_mapping.reserve(static_cast<size_t>(step.num_tokens));
  for (const DecodeItem& item : step.items) {
    const auto table = blocks.block_table(item.blocks, group);
    kv.block_table.insert(kv.block_table.end(), table.begin(), table.end());
    kv.block_table.resize(
        kv.block_table.size() + static_cast<size_t>(kv.table_width) - table.size(), kNoBlock);
    for (int64_t position = item.begin; position < item.end; ++position) {
      const int64_t block = table[static_cast<size_t>(position / size)];
      kv.slot_mapping.push_back(static_cast<int32_t>(block * size + position % size));
    }
  }
  return kv;
}

}  // namespace

Batch make_batch(const DecodeStep& step, const BlockManager& blocks) {
  Batch batch;
  for (const DecodeItem& item : step.items) {
    const auto tokens = std::span<const int32_t>(item.sequence().tokens);
    CHECK(item.end <= static_cast<int64_t>(tokens.size()), "a token that is not known yet");
    batch.append_rows(
        tokens.subspan(static_cast<size_t>(item.begin), static_cast<size_t>(item.end - item.begin)),
        item.begin);
    if (item.num_samples > 0) batch.logits_rows.push_back(batch.cu_seqlens.back() - 1);
  }
  for (size_t group = 0; group < blocks.num_groups(); ++group)
    batch.kv.push_back(make_kv_batch(step, blocks, group));
  return batch;
}

SampledRows DecodeRunner::run(std::span<const KvCopy> copies, const Batch& batch,
                              const SamplingBatch& sampling) {
  if (!copies.empty()) ops_->copy_kv_blocks(copies);
  ops_->begin_step(batch);
  const Output output = model_->forward(*ops_, batch);
  if (sampling.num_rows() == 0) return {};
  const SampledTokens sampled = ops_->sample(*output.logits, sampling);
  return {.tokens = sampled.tokens.as<const int32_t>(),
          .logprobs = sampled.logprobs.as<const float>(),
          .ranks = sampled.ranks.as<const int32_t>(),
          .top_tokens = sampled.top_tokens.as<const int32_t>(),
          .top_logprobs = sampled.top_logprobs.as<const float>(),
          .num_top = static_cast<size_t>(sampled.top_tokens.columns())};
}

}  // namespace millrace
