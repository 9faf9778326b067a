// SamplingParams: what a request asks of the sampler, and the ranges that are accepted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace {

// The names are vLLM's. Logits pass, in this order: allowed and bad tokens, logit_bias, penalties,
// temperature, min_p, top_k, top_p; then one token is drawn.
struct SamplingParams {
  float temperature = 1;         // 0: the most likely token, always
  int64_t top_k = 0;             // 0 or -1: all tokens
  float top_p = 1;               // the most likely tokens that together have this probability
  float min_p = 0;               // of the most likely token's probability
  float repetition_penalty = 1;  // divides or multiplies logits of tokens of prompt and output
  float presence_penalty = 0;    // off the logits of tokens of the output
  float frequency_penalty = 0;   // the same for each time
  std::vector<std::pair<int32_t, float>> logit_bias;  // token, added to its logit
  std::vector<std::vector<int32_t>> bad_words;        // token sequences that must not appear
  std::vector<int32_t> allowed_token_ids;             // empty: all
  std::optional<int64_t> seed;                        // absent: one is drawn for the request

  int64_t min_tokens = 0;  // neither end nor stop before
  int64_t max_tokens = 1;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool include_stop_str_in_output = false;

  int64_t n = 1;                    // choices that are returned
  std::optional<int64_t> best_of;   // choices that are drawn; absent: n
  std::optional<int64_t> logprobs;  // of the sampled token and so many of the most likely
  std::optional<int64_t> prompt_logprobs;

  bool is_greedy() const { return temperature == 0; }
};

// What multiplies work or memory has a bound of its own.
struct SamplingLimits {
  int64_t vocab_size = 0;
  int64_t max_choices = 128;  // n and best_of
  int64_t max_logprobs = 20;
  int64_t max_logit_biases = 1024;
  int64_t max_bad_words = 1024;
  int64_t max_bad_word_tokens = 64;  // of one
  int64_t max_stop_strings = 32;
  int64_t max_stop_string_bytes = 1000;  // of one
  int64_t max_stop_token_ids = 1024;
};

// Throws Error{kInvalidArgument} naming the field, its value and its range.
void validate(const SamplingParams& params, const SamplingLimits& limits);

}  // namespace millrace
