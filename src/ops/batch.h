// Batch: the flat, unpadded step that the scheduler emits. Plain, serialisable data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace millrace {

// Rows behind the last sequence belong to none, and a sequence may be empty: both only where a
// device adds them to reach the size of a step that it knows.
struct Batch {
  std::vector<int32_t> token_ids;       // [num_tokens], sequence after sequence
  std::vector<int32_t> token_type_ids;  // [num_tokens]
  std::vector<int32_t> position_ids;    // [num_tokens]
  std::vector<int32_t> cu_seqlens{0};   // [num_sequences + 1]: sequence i is rows cu[i]..cu[i+1]

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(cu_seqlens.size()) - 1; }
  int64_t max_seq_len() const;
  int64_t sum_squared_seq_len() const;  // pairs that bidirectional attention scores

  // Adds one sequence whose positions count from 0. Both spans have its length, which is at
  // least 1.
  void append(std::span<const int32_t> ids, std::span<const int32_t> type_ids);
  void clear();

  // Adds zeros behind the last sequence, and empty sequences.
  void pad(int64_t num_tokens, int64_t num_sequences);

  // A batch of zeros with these sequence lengths: what a plan is traced over.
  static Batch of_lengths(std::span<const int64_t> lengths);
};

std::string to_string(const Batch& batch);  // "Batch{2 sequences, 9 tokens, longest 5}"

}  // namespace millrace
