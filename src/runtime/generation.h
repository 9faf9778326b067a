// What is asked of a text generator, in tokens, and what it answers, token by token.
#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/decode_request.h"
#include "runtime/sampling_params.h"

namespace millrace {

// A token of the output. Logprobs are those of the raw logits, where they were asked for.
struct GeneratedToken {
  int32_t id = 0;
  float logprob = 0;
  int32_t rank = 0;                                 // 1: the most likely; 0: no logprobs
  std::vector<std::pair<int32_t, float>> top = {};  // tokens and their logprobs, best first
};

// News of one choice.
struct GenerationChunk {
  size_t choice = 0;
  std::vector<GeneratedToken> tokens;                // since the last chunk
  FinishReason finish_reason = FinishReason::kNone;  // set: the last chunk of the choice
  std::exception_ptr error;                          // of kError and kTimeout
  int64_t num_cached_tokens = 0;                     // of the prompt, found in the cache
  Clock::time_point scheduled_at{};                  // when the request entered its first step
  // In the first chunk of choice 0, where prompt_logprobs were asked for: all tokens of the prompt,
  // with logprobs but for the first.
  std::vector<GeneratedToken> prompt_tokens = {};
};

struct GenerationRequest {
  std::vector<int32_t> prompt;  // at least one token
  SamplingParams sampling;      // validated; its stop strings are the reader's to look for
  // The model's own end tokens: the last one of an output, unless sampling.ignore_eos.
  std::vector<int32_t> end_token_ids;
  int64_t priority = 0;  // the lower one goes first
  std::optional<Clock::time_point> deadline;
  PrefixScope scope;
  // Called on the engine thread: hand over and return. Every choice ends with a chunk that has a
  // finish_reason, but for those that were cancelled.
  std::function<void(GenerationChunk)> on_chunk;
};

}  // namespace millrace
