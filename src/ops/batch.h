// Batch: the flat, unpadded step that the scheduler emits. Plain, serialisable data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace millrace {

// Where the keys and values of a step lie in the layers of one cache group.
struct KvBatch {
  // [num_sequences, table_width]: block i holds positions i * block_size and on. Blocks that no
  // row of the step sees, as a window has left them, may be anything.
  std::vector<int32_t> block_table;
  int64_t table_width = 0;
  // [num_tokens]: block * block_size + offset of each row; -1 of rows that belong to no sequence.
  std::vector<int32_t> slot_mapping;
};

// Rows behind the last sequence belong to none, and a sequence may be empty: both only where a
// device adds them to reach the size of a step that it knows.
struct Batch {
  // [num_tokens], sequence after sequence. In batches of decoders ~r (negative) is the token that
  // row r of the last SamplingOps::sample() drew, which the host may not know yet; where that row
  // drew none, any token.
  std::vector<int32_t> token_ids;
  std::vector<int32_t> token_type_ids;  // [num_tokens]; empty for decoders
  std::vector<int32_t> position_ids;    // [num_tokens]
  std::vector<int32_t> cu_seqlens{0};   // [num_sequences + 1]: sequence i is rows cu[i]..cu[i+1]

  // Of decoders; empty in batches of encoders. Rows of a sequence are its last ones: the position
  // of the last is kv_lengths - 1, and those before it count up to that.
  std::vector<int32_t> kv_lengths;   // [num_sequences]: keys once this step's rows are written
  std::vector<KvBatch> kv;           // [groups of the model's cache]
  std::vector<int32_t> logits_rows;  // rows whose logits are wanted, ascending

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(cu_seqlens.size()) - 1; }
  int64_t max_seq_len() const;
  int64_t sum_squared_seq_len() const;  // pairs that bidirectional attention scores

  // Adds one sequence whose positions count from 0. Both spans have its length, which is at
  // least 1.
  void append(std::span<const int32_t> ids, std::span<const int32_t> type_ids);
  // Adds the rows of a decoder's sequence from `first_position` on; block tables and slots are the
  // caller's to fill.
  void append_rows(std::span<const int32_t> ids, int64_t first_position);
  void clear();

  // Adds zeros behind the last sequence, without slots, and empty sequences without keys.
  void pad(int64_t num_tokens, int64_t num_sequences);

  // A batch of zeros with these sequence lengths: what a plan is traced over.
  static Batch of_lengths(std::span<const int64_t> lengths);
};

// What a plan of a decoder is traced over: new rows and keys of each sequence, all in the first
// blocks; the last row of each sequence wants logits.
struct SequenceLength {
  int64_t rows = 0;  // of this step
  int64_t keys = 0;  // those rows included
};
Batch decoder_batch(std::span<const SequenceLength> sequences, size_t num_groups,
                    int64_t block_size);

std::string to_string(const Batch& batch);  // "Batch{2 sequences, 9 tokens, longest 5}"

}  // namespace millrace
