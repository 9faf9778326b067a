// Sampler: from what a request asks, and what a choice has generated, to the row that is sampled.
#pragma once

#include <unordered_map>
#include <vector>

#include "ops/sampling_ops.h"
#include "runtime/generation.h"

namespace millrace {

// What all choices of a request share; immutable.
struct SamplerSetup {
  SamplerSetup(const GenerationRequest& request, int64_t vocab_size);

  SamplingParams params;
  uint64_t seed = 0;                 // of the first choice
  std::vector<int32_t> end_tokens;   // after which a choice ends
  std::vector<uint32_t> mask;        // of allowed_token_ids; empty: all
  std::vector<int32_t> bias_tokens;  // logit_bias, and bad words of one token
  std::vector<float> biases;
  size_t num_prompt_tokens = 0;

  bool has_penalties() const {
    return params.repetition_penalty != 1 || params.presence_penalty != 0 ||
           params.frequency_penalty != 0;
  }
};

// One choice. Its next token depends on its own tokens alone.
class Sampler {
 public:
  Sampler(const SamplerSetup& setup, size_t choice) : setup_(setup), choice_(choice) {}

  // The row for the token behind `tokens`, prompt and output; valid until the next call.
  SamplingRow next_row(int64_t logits_row, std::span<const int32_t> tokens);

  // Whether the last of `tokens` ends the choice. Before min_tokens none of those can be drawn.
  bool is_end(std::span<const int32_t> tokens) const;

 private:
  void count(std::span<const int32_t> tokens);

  const SamplerSetup& setup_;
  size_t choice_;
  std::vector<int32_t> bias_tokens_;
  std::vector<float> biases_;
  size_t num_counted_ = 0;                      // of the tokens
  std::vector<int32_t> counted_tokens_;         // each once
  std::vector<int32_t> counts_;                 // in the output
  std::unordered_map<int32_t, size_t> places_;  // in the two above
};

}  // namespace millrace
