// The ranges of sampling parameters.
#include "runtime/sampling_params.h"

#include <fmt/format.h>

#include <string_view>

#include "base/error.h"

namespace millrace {

namespace {

[[noreturn]] void refuse(std::string_view field, const std::string& rule) {
  throw Error(ErrorCode::kInvalidArgument, fmt::format("{} {}", field, rule));
}

// NaN is in no range.
template <typename T>
void check_range(std::string_view field, T value, T least, T most) {
  if (!(value >= least && value <= most))
    refuse(field, fmt::format("is {}, must be from {} to {}", value, least, most));
}

void check_count(std::string_view field, size_t count, int64_t most) {
  if (static_cast<int64_t>(count) > most)
    refuse(field, fmt::format("has {} entries, the limit is {}", count, most));
}

void check_token(std::string_view field, int64_t token, int64_t vocab_size) {
  if (token < 0 || token >= vocab_size)
    refuse(field, fmt::format("holds token {}, the vocabulary has 0 to {}", token, vocab_size - 1));
}

void check_tokens(const SamplingParams& params, const SamplingLimits& limits) {
  check_count("logit_bias", params.logit_bias.size(), limits.max_logit_biases);
  for (const auto& [token, bias] : params.logit_bias) {
    check_token("logit_bias", token, limits.vocab_size);
    check_range("logit_bias", bias, -100.0f, 100.0f);
  }
  check_count("bad_words", params.bad_words.size(), limits.max_bad_words);
  for (const std::vector<int32_t>& word : params.bad_words) {
    if (word.empty()) refuse("bad_words", "holds an empty word");
    check_count("a word of bad_words", word.size(), limits.max_bad_word_tokens);
    for (const int32_t token : word) check_token("bad_words", token, limits.vocab_size);
  }
  check_count("allowed_token_ids", params.allowed_token_ids.size(), limits.vocab_size);
  for (const int32_t token : params.allowed_token_ids)
    check_token("allowed_token_ids", token, limits.vocab_size);
  check_count("stop_token_ids", params.stop_token_ids.size(), limits.max_stop_token_ids);
  for (const int32_t token : params.stop_token_ids)
    check_token("stop_token_ids", token, limits.vocab_size);
}

}  // namespace

void validate(const SamplingParams& params, const SamplingLimits& limits) {
  check_range("temperature", params.temperature, 0.0f, 4.0f);
  check_range<int64_t>("top_k", params.top_k, -1, INT32_MAX);
  check_range("top_p", params.top_p, 0.0f, 1.0f);
  if (params.top_p == 0) refuse("top_p", "is 0, must be greater than 0");
  check_range("min_p", params.min_p, 0.0f, 1.0f);
  check_range("repetition_penalty", params.repetition_penalty, 0.01f, 100.0f);
  check_range("presence_penalty", params.presence_penalty, -2.0f, 2.0f);
  check_range("frequency_penalty", params.frequency_penalty, -2.0f, 2.0f);
  check_tokens(params, limits);
  check_range<int64_t>("max_tokens", params.max_tokens, 1, INT32_MAX);
  check_range<int64_t>("min_tokens", params.min_tokens, 0, params.max_tokens);
  check_count("stop", params.stop.size(), limits.max_stop_strings);
  for (const std::string& stop : params.stop) {
    if (stop.empty()) refuse("stop", "holds an empty string");
    if (static_cast<int64_t>(stop.size()) > limits.max_stop_string_bytes)
      refuse("stop", fmt::format("holds a string of {} bytes, the limit is {}", stop.size(),
                                 limits.max_stop_string_bytes));
  }
  check_range<int64_t>("n", params.n, 1, limits.max_choices);
  if (params.best_of)
    check_range<int64_t>("best_of", *params.best_of, params.n, limits.max_choices);
  if (params.logprobs) check_range<int64_t>("logprobs", *params.logprobs, 0, limits.max_logprobs);
  if (params.prompt_logprobs)
    check_range<int64_t>("prompt_logprobs", *params.prompt_logprobs, 0, limits.max_logprobs);
}

}  // namespace millrace
