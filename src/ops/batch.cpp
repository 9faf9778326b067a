// Building and measuring of packed batches.
#include "ops/batch.h"

#include <algorithm>

#include "base/error.h"

namespace millrace {

int64_t Batch::max_seq_len() const {
  int64_t longest = 0;
  for (size_t i = 1; i < cu_seqlens.size(); ++i) {
    longest = std::max<int64_t>(longest, cu_seqlens[i] - cu_seqlens[i - 1]);
  }
  return longest;
}

int64_t Batch::sum_squared_seq_len() const {
  int64_t sum = 0;
  for (size_t i = 1; i < cu_seqlens.size(); ++i) {
    const int64_t length = cu_seqlens[i] - cu_seqlens[i - 1];
    sum += length * length;
  }
  return sum;
}

void Batch::append(std::span<const int32_t> ids, std::span<const int32_t> type_ids) {
  CHECK(!ids.empty() && ids.size() == type_ids.size(), "{} ids, {} type ids", ids.size(),
        type_ids.size());
  CHECK(token_ids.size() + ids.size() <= INT32_MAX);
  token_ids.insert(token_ids.end(), ids.begin(), ids.end());
  token_type_ids.insert(token_type_ids.end(), type_ids.begin(), type_ids.end());
  for (size_t i = 0; i < ids.size(); ++i) position_ids.push_back(static_cast<int32_t>(i));
  cu_seqlens.push_back(static_cast<int32_t>(token_ids.size()));
}

void Batch::append_rows(std::span<const int32_t> ids, int64_t first_position) {
  CHECK(!ids.empty() && first_position >= 0, "{} ids from {}", ids.size(), first_position);
  CHECK(token_ids.size() + ids.size() <= INT32_MAX);
  token_ids.insert(token_ids.end(), ids.begin(), ids.end());
  for (size_t i = 0; i < ids.size(); ++i)
    position_ids.push_back(static_cast<int32_t>(first_position + static_cast<int64_t>(i)));
  cu_seqlens.push_back(static_cast<int32_t>(token_ids.size()));
  kv_lengths.push_back(position_ids.back() + 1);
}

void Batch::clear() {
  for (auto* values : {&token_ids, &token_type_ids, &position_ids, &kv_lengths, &logits_rows})
    values->clear();
  kv.clear();
  cu_seqlens.assign(1, 0);
}

void Batch::pad(int64_t num_tokens, int64_t num_sequences) {
  CHECK(num_tokens >= this->num_tokens() && num_sequences >= this->num_sequences());
  for (auto* numbers : {&token_ids, &token_type_ids, &position_ids})
    numbers->resize(static_cast<size_t>(num_tokens), 0);
  cu_seqlens.resize(static_cast<size_t>(num_sequences) + 1, cu_seqlens.back());
  if (kv.empty()) return;
  kv_lengths.resize(static_cast<size_t>(num_sequences), 0);
  for (KvBatch& group : kv) {
    group.slot_mapping.resize(static_cast<size_t>(num_tokens), -1);
    group.block_table.resize(static_cast<size_t>(num_sequences * group.table_width), -1);
  }
}

Batch Batch::of_lengths(std::span<const int64_t> lengths) {
  Batch batch;
  for (int64_t length : lengths) {
    const std::vector<int32_t> zeros(static_cast<size_t>(length), 0);
    batch.append(zeros, zeros);
  }
  return batch;
}

Batch decoder_batch(std::span<const SequenceLength> sequences, size_t num_groups,
                    int64_t block_size) {
  Batch batch;
  int64_t width = 0;
  for (const SequenceLength& sequence : sequences) {
    const std::vector<int32_t> zeros(static_cast<size_t>(sequence.rows), 0);
    batch.append_rows(zeros, sequence.keys - sequence.rows);
    batch.logits_rows.push_back(batch.cu_seqlens.back() - 1);
    width = std::max(width, (sequence.keys + block_size - 1) / block_size);
  }
  KvBatch kv{.block_table = std::vector<int32_t>(sequences.size() * static_cast<size_t>(width), 0),
             .table_width = width,
             .slot_mapping = std::vector<int32_t>(batch.token_ids.size(), 0)};
  batch.kv.assign(num_groups, kv);
  return batch;
}

std::string to_string(const Batch& batch) {
  return fmt::format("Batch{{{} sequences, {} tokens, longest {}}}", batch.num_sequences(),
                     batch.num_tokens(), batch.max_seq_len());
}

}  // namespace millrace
