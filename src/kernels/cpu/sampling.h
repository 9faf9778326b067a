// Drawing tokens from logits, and their logprobs.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"

namespace millrace::cpu {

struct TokenBias {
  int32_t token = 0;
  float bias = 0;  // -infinity: never
};

// A token of the prompt or the output; each at most once in a row's list.
struct TokenCount {
  int32_t token = 0;
  int32_t count = 0;  // in the output
};

// One token to draw. Its logits pass, in the order of vLLM's V1 sampler: the mask, the biases, the
// penalties, the temperature, min_p, top_k, top_p.
struct SampleRow {
  int64_t logits_row = 0;
  float temperature = 1;  // below kGreedyTemperature: the most likely token, the first of equals
  int64_t top_k = 0;      // 0: all; tokens equal to the last one stay too
  float top_p = 1;        // 1: all
  float min_p = 0;
  float repetition_penalty = 1;  // a logit x of a counted token becomes x > 0 ? x / r : x r
  float presence_penalty = 0;    // off the logits of tokens of the output
  float frequency_penalty = 0;   // and this for each time
  uint64_t seed = 0;
  uint64_t position = 0;  // the same seed and position draw the same number
  std::span<const TokenBias> biases;
  std::span<const TokenCount> counts;
  const uint32_t* mask = nullptr;  // [ceil(vocab / 32)]: bit t set: token t may be drawn
  int64_t num_top = -1;            // of the most likely tokens to tell; -1: no logprobs at all
  int32_t given_token = -1;        // not drawn, but given: for its logprobs; -1: draw one
};

inline constexpr float kGreedyTemperature = 1e-5f;

struct SampleArgs {
  const float* logits = nullptr;  // [*, vocab]
  int64_t logits_stride = 0;      // elements from row to row
  int64_t vocab = 0;
  std::span<const SampleRow> rows;
  float* scratch = nullptr;       // [num_threads, vocab]
  int64_t top_stride = 0;         // at least the greatest num_top
  int32_t* tokens = nullptr;      // [rows]; -1: no token has a finite logit
  float* logprobs = nullptr;      // [rows]; of the logits as they came
  int32_t* ranks = nullptr;       // [rows]; 1: no token is more likely
  int32_t* top_tokens = nullptr;  // [rows, top_stride], the most likely first
  float* top_logprobs = nullptr;
};

// A row's result depends on nothing but its own logits and parameters.
void sample(ThreadPool& pool, const SampleArgs& args);

}  // namespace millrace::cpu
