// SamplingOps: from logits to tokens, and to the logprobs that were asked for.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/ops_context.h"
#include "tensor/buffer.h"

namespace millrace {

// One token to draw, as SamplingParams of a request and its tokens so far give it; or one that is
// given, whose logprobs are wanted.
struct SamplingRow {
  int64_t logits_row = 0;  // several may draw from one row
  float temperature = 1;   // 0: the most likely token
  int32_t top_k = 0;       // 0: all
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint64_t seed = 0;      // of the request
  uint64_t position = 0;  // of the token: the same seed and position draw the same number
  std::span<const int32_t> bias_tokens;  // logit_bias, and -infinity for what must not come
  std::span<const float> biases;
  std::span<const int32_t> counted_tokens;  // of prompt and output, each once
  std::span<const int32_t> counts;          // in the output
  std::span<const uint32_t> mask;           // empty, or a bit for each token: it may be drawn
  int32_t num_logprobs = -1;  // of the most likely tokens; -1: not even of the drawn one
  int32_t given_token = -1;   // -1: draw one; else it is that one, whatever the rest says
};

// All rows of a step. Plain, serialisable data.
struct SamplingBatch {
  std::vector<int32_t> logits_rows;  // [num_rows], as all up to given_tokens
  std::vector<float> temperatures;
  std::vector<int32_t> top_ks;
  std::vector<float> top_ps;
  std::vector<float> min_ps;
  std::vector<float> repetition_penalties;
  std::vector<float> presence_penalties;
  std::vector<float> frequency_penalties;
  std::vector<uint64_t> seeds;
  std::vector<uint64_t> positions;
  std::vector<int32_t> mask_begins;  // in `masks`; -1: none
  std::vector<int32_t> num_logprobs;
  std::vector<int32_t> given_tokens;
  std::vector<int32_t> cu_biases{0};  // [num_rows + 1]: row i has biases cu[i]..cu[i+1]
  std::vector<int32_t> bias_tokens;
  std::vector<float> biases;
  std::vector<int32_t> cu_counts{0};  // [num_rows + 1]
  std::vector<int32_t> counted_tokens;
  std::vector<int32_t> counts;
  std::vector<uint32_t> masks;  // one after another

  int64_t num_rows() const { return static_cast<int64_t>(logits_rows.size()); }
  int64_t max_logprobs() const;  // 0 where no row wants any
  void append(const SamplingRow& row);
};

// On the host. Of rows without logprobs the values but `tokens` are undefined.
struct SampledTokens {
  Tensor tokens;        // [num_rows, 1] I32; -1: the row has no finite logit to draw from
  Tensor logprobs;      // [num_rows, 1] F32: of the logits as they came
  Tensor ranks;         // [num_rows, 1] I32: 1 is the most likely
  Tensor top_tokens;    // [num_rows, max(1, max_logprobs)] I32, the most likely first
  Tensor top_logprobs;  // the same, F32
};

class SamplingOps : public virtual OpsContext {
 public:
  // Draws a token for each row of `batch` from `logits` [*, vocab] F32. The order of operations is
  // that of vLLM's V1 sampler: mask, biases, penalties, temperature, min_p, top_k, top_p. A row's
  // token depends on nothing but its logits and its parameters.
  //
  // A device may still be at work on it afterwards: the results are there once wait_sampled() has
  // returned, and stay until the second next sample(). Meanwhile the next step may be run, whose
  // batch names these tokens by their rows (Batch::token_ids).
  SampledTokens sample(const Tensor& logits, const SamplingBatch& batch);

  // Waits for the results of the last sample(), not for steps that were run since.
  virtual void wait_sampled() {}

 private:
  // Memory of the host for results, which the device writes to.
  virtual Buffer allocate_results(int64_t bytes) { return Buffer::host(bytes); }
  virtual void run_sample(const Tensor& logits, const SamplingBatch& batch,
                          const SampledTokens& out) = 0;

  std::array<Buffer, 2> results_;  // of the last two, in turn
  size_t turn_ = 0;
};

}  // namespace millrace
