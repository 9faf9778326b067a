// Penalties count tokens, bans are biases of -infinity.
#include "runtime/sampler.h"

#include <algorithm>
#include <limits>

#include "base/random_seed.h"

namespace millrace {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

bool contains(const std::vector<int32_t>& tokens, int32_t token) {
  return std::ranges::find(tokens, token) != tokens.end();
}

}  // namespace

SamplerSetup::SamplerSetup(const GenerationRequest& request, int64_t vocab_size)
    : params(request.sampling),
      seed(params.seed ? static_cast<uint64_t>(*params.seed) : random_seed()),
      end_tokens(params.stop_token_ids),
      num_prompt_tokens(request.prompt.size()) {
  if (!params.ignore_eos) {
    for (const int32_t token : request.end_token_ids) {
      if (!contains(end_tokens, token)) end_tokens.push_back(token);
    }
  }
  if (!params.allowed_token_ids.empty()) {
    mask.assign(static_cast<size_t>((vocab_size + 31) / 32), 0);
    for (const int32_t token : params.allowed_token_ids)
      mask[static_cast<size_t>(token) / 32] |= 1u << (token % 32);
  }
  for (const auto& [token, bias] : params.logit_bias) {
    bias_tokens.push_back(token);
    biases.push_back(bias);
  }
  for (const std::vector<int32_t>& word : params.bad_words) {
    if (word.size() != 1) continue;
    bias_tokens.push_back(word.front());
    biases.push_back(kNever);
  }
}

void Sampler::count(std::span<const int32_t> tokens) {
  for (; num_counted_ < tokens.size(); ++num_counted_) {
    const auto [place, is_new] = places_.try_emplace(tokens[num_counted_], counts_.size());
    if (is_new) {
      counted_tokens_.push_back(tokens[num_counted_]);
      counts_.push_back(0);
    }
    if (num_counted_ >= setup_.num_prompt_tokens) ++counts_[place->second];
  }
}

SamplingRow Sampler::next_row(int64_t logits_row, std::span<const int32_t> tokens) {
  const SamplingParams& params = setup_.params;
  const auto output = tokens.subspan(setup_.num_prompt_tokens);
  bias_tokens_ = setup_.bias_tokens;
  biases_ = setup_.biases;
  const auto ban = [&](int32_t token) {
    bias_tokens_.push_back(token);
    biases_.push_back(kNever);
  };
  if (static_cast<int64_t>(output.size()) < params.min_tokens)
    std::ranges::for_each(setup_.end_tokens, ban);
  for (const std::vector<int32_t>& word : params.bad_words) {
    const size_t before = word.size() - 1;
    if (before == 0 || before > output.size()) continue;
    if (std::equal(word.begin(), word.end() - 1,
                   output.end() - static_cast<std::ptrdiff_t>(before)))
      ban(word.back());
  }
  if (setup_.has_penalties()) count(tokens);
  return {.logits_row = logits_row,
          .temperature = params.temperature,
          .top_k = static_cast<int32_t>(std::max<int64_t>(params.top_k, 0)),
          .top_p = params.top_p,
          .min_p = params.min_p,
          .repetition_penalty = params.repetition_penalty,
          .presence_penalty = params.presence_penalty,
          .frequency_penalty = params.frequency_penalty,
          .seed = setup_.seed + choice_,
          .position = output.size(),
          .bias_tokens = bias_tokens_,
          .biases = biases_,
          .counted_tokens = counted_tokens_,
          .counts = counts_,
          .mask = setup_.mask,
          .num_logprobs = static_cast<int32_t>(params.logprobs.value_or(-1))};
}

bool Sampler::is_end(std::span<const int32_t> tokens) const {
  return tokens.size() > setup_.num_prompt_tokens && contains(setup_.end_tokens, tokens.back());
}

}  // namespace millrace
