// Packing; forward and sampling, launched and collected.
#include "runtime/decode_runner.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"

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
    const DecodeSequence& sequence = item.sequence();
    const auto num_known = static_cast<int64_t>(sequence.tokens.size());
    const int32_t row = batch.cu_seqlens.back();
    if (item.end <= num_known) {
      batch.append_rows(
          std::span(sequence.tokens)
              .subspan(static_cast<size_t>(item.begin), static_cast<size_t>(item.end - item.begin)),
          item.begin);
    } else {
      CHECK(item.begin == num_known && item.end == num_known + 1 && sequence.sampled_row >= 0,
            "tokens {} to {}, {} are known", item.begin, item.end, num_known);
      const int32_t id = ~sequence.sampled_row;
      batch.append_rows(std::span(&id, 1), item.begin);
    }
    for (int64_t position = item.logits_begin; position < item.logits_end; ++position)
      batch.logits_rows.push_back(row + static_cast<int32_t>(position - item.begin));
    if (item.num_samples > 0) batch.logits_rows.push_back(batch.cu_seqlens.back() - 1);
  }
  for (size_t group = 0; group < blocks.num_groups(); ++group)
    batch.kv.push_back(make_kv_batch(step, blocks, group));
  return batch;
}

void DecodeRunner::launch(std::vector<KvCopy>& copies, const Batch& batch) {
  failures_.at(FailurePoint::kAlloc);
  if (!copies.empty()) ops_->copy_kv_blocks(copies);
  copies.clear();
  failures_.at(FailurePoint::kLaunch);
  failures_.at(FailurePoint::kDevice);
  const bool only_decodes = batch.num_tokens() == batch.num_sequences() &&
                            static_cast<int64_t>(batch.logits_rows.size()) == batch.num_tokens();
  const auto forward = [&](const Batch& rows) {
    return StepRows{.logits = model_->forward(*ops_, rows).logits};
  };
  in_flight_.push_back(
      {.step = ops_->run_step(batch, only_decodes ? 0 : Ops::kUniqueStep, forward)});
}

void DecodeRunner::sample(const SamplingBatch& sampling) {
  CHECK(!in_flight_.empty() && !in_flight_.back().sampled, "no step to draw tokens of");
  if (sampling.num_rows() == 0) return;
  failures_.at(FailurePoint::kSample);
  Launched& last = in_flight_.back();
  last.sampled = ops_->sample(*last.step.rows.logits, sampling);
}

SampledRows DecodeRunner::collect() {
  CHECK(!in_flight_.empty(), "no step is in flight");
  const Launched oldest = std::move(in_flight_.front());
  in_flight_.pop_front();
  ops_->wait_step(oldest.step.number);
  if (oldest.sampled) ops_->wait_sampled();
  failures_.at(FailurePoint::kStep);
  if (!oldest.sampled) return {};
  const SampledTokens& sampled = *oldest.sampled;
  return {.tokens = sampled.tokens.as<const int32_t>(),
          .logprobs = sampled.logprobs.as<const float>(),
          .ranks = sampled.ranks.as<const int32_t>(),
          .top_tokens = sampled.top_tokens.as<const int32_t>(),
          .top_logprobs = sampled.top_logprobs.as<const float>(),
          .num_top = static_cast<size_t>(sampled.top_tokens.columns())};
}

// What the host wrote for them must not be overwritten before they have read it.
void DecodeRunner::abandon() {
  for (const Launched& launched : std::exchange(in_flight_, {})) {
    try {
      ops_->wait_step(launched.step.number);
    } catch (const Error& error) {  // they were given up; a device that is lost says so again
      log::warn("a step that was given up failed: {}", error.message());
    }
  }
}

}  // namespace millrace
