// What requests draw from the demo model, beside transformers' own logits processors
// (tests/golden/make_sampling.py), with one step and with two in flight.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <future>
#include <map>

#include "base/json.h"
#include "runtime/generation_core.h"
#include "runtime/loaded_model.h"
#include "support/rounds.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

std::vector<int32_t> tokens_of(const json::value& list) {
  std::vector<int32_t> tokens;
  for (const json::value& token : list.as_array())
    tokens.push_back(static_cast<int32_t>(token.to_number<int64_t>()));
  return tokens;
}

SamplingParams params_of(const json::object& asked) {
  SamplingParams params{.temperature = 0, .max_tokens = 40};
  for (const auto& [key, value] : asked) {
    const auto number = [&value = value] { return static_cast<float>(value.to_number<double>()); };
    if (key == "temperature") {
      params.temperature = number();
    } else if (key == "top_k") {
      params.top_k = value.to_number<int64_t>();
    } else if (key == "top_p") {
      params.top_p = number();
    } else if (key == "min_p") {
      params.min_p = number();
    } else if (key == "repetition_penalty") {
      params.repetition_penalty = number();
    } else if (key == "frequency_penalty") {
      params.frequency_penalty = number();
    } else if (key == "presence_penalty") {
      params.presence_penalty = number();
    } else if (key == "min_tokens") {
      params.min_tokens = value.to_number<int64_t>();
    } else if (key == "allowed_token_ids") {
      params.allowed_token_ids = tokens_of(value);
    } else if (key == "bad_token_sequences") {
      for (const json::value& word : value.as_array()) params.bad_words.push_back(tokens_of(word));
    } else if (key == "logit_bias") {
      for (const auto& [token, bias] : value.as_object())
        params.logit_bias.emplace_back(std::stoi(std::string(token)),
                                       static_cast<float>(bias.to_number<double>()));
    } else {
      ADD_FAILURE() << "the case asks for " << key;
    }
  }
  return params;
}

class SamplingGolden : public testing::TestWithParam<int64_t> {
 protected:
  SamplingGolden() {
    LoadOptions options{.device = Device{}, .num_threads = 1};
    options.build.max_seq_len = 512;
    options.build.max_batch_size = 8;
    options.build.max_num_tokens = 128;
    options.generation.kv_cache_bytes = 64 << 20;
    loaded_ = LoadedModel::open(test::source_dir() / "examples" / "demo-model", options);
    Generator& generator = *loaded_->generator;
    generator.limits.max_steps_in_flight = GetParam();
    core_ = std::make_unique<GenerationCore>(
        std::move(generator.runner), GenerationConfig{.limits = generator.limits,
                                                      .blocks = generator.blocks,
                                                      .vocab_size = loaded_->config.vocab_size});
  }

  // The tokens of all choices.
  std::vector<std::vector<GeneratedToken>> run(std::vector<int32_t> prompt,
                                               const SamplingParams& params) {
    std::vector<std::vector<GeneratedToken>> choices(static_cast<size_t>(params.n));
    std::promise<void> ended;
    int64_t num_open = params.n;
    core_->submit({.prompt = std::move(prompt),
                   .sampling = params,
                   .end_token_ids = loaded_->generator->defaults.end_token_ids,
                   .on_chunk = [&](GenerationChunk chunk) {
                     for (GeneratedToken& token : chunk.tokens)
                       choices[chunk.choice].push_back(std::move(token));
                     if (chunk.finish_reason != FinishReason::kNone && --num_open == 0)
                       ended.set_value();
                   }});
    ended.get_future().wait();
    return choices;
  }

  json::value expected_ =
      json::parse_file(test::source_dir().string() + "/tests/golden/sampling/expected.json");
  std::unique_ptr<LoadedModel> loaded_;
  std::unique_ptr<GenerationCore> core_;
};

INSTANTIATE_TEST_SUITE_P(StepsInFlight, SamplingGolden, testing::Values(1, 2),
                         [](const auto& depth) { return std::to_string(depth.param); });

TEST_P(SamplingGolden, GreedyTokensUnderPenaltiesBansAndBiases) {
  for (const json::value& one : expected_.at("greedy").as_array()) {
    const auto choices = run(tokens_of(one.at("prompt")), params_of(one.at("asked").as_object()));
    std::vector<int32_t> tokens;
    for (const GeneratedToken& token : choices[0]) tokens.push_back(token.id);
    EXPECT_EQ(tokens, tokens_of(one.at("tokens"))) << json::to_text(one.at("asked"));
  }
}

TEST_P(SamplingGolden, DrawnTokensHaveTheProbabilitiesThatTheyShould) {
  constexpr int kRequests = test::rounds(24), kChoices = 8;
  for (const json::value& one : expected_.at("drawn").as_array()) {
    SamplingParams params = params_of(one.at("asked").as_object());
    params.max_tokens = 1;
    params.n = kChoices;
    std::map<int32_t, int> counts;
    for (int i = 0; i < kRequests; ++i) {
      params.seed = 1000 * i;
      for (const auto& choice : run(tokens_of(one.at("prompt")), params)) ++counts[choice.at(0).id];
    }
    const std::vector<int32_t> likely = tokens_of(one.at("tokens"));
    const auto& probabilities = one.at("probabilities").as_array();
    constexpr double kDraws = kRequests * kChoices;
    double chi_squared = 0, rest = 1;
    int num_counted = 0;
    double rest_count = kDraws;
    for (size_t i = 0; i < likely.size(); ++i) {
      const double expected = kDraws * probabilities[i].to_number<double>();
      if (expected < 5) break;
      chi_squared += std::pow(counts[likely[i]] - expected, 2) / expected;
      rest -= probabilities[i].to_number<double>();
      rest_count -= counts[likely[i]];
      ++num_counted;
    }
    if (kDraws * rest >= 5)
      chi_squared += std::pow(rest_count - kDraws * rest, 2) / (kDraws * rest);
    // The seeds are fixed, so this holds always or never; the bound is six deviations above the
    // mean.
    EXPECT_LE(chi_squared, num_counted + 6 * std::sqrt(2.0 * num_counted))
        << json::to_text(one.at("asked"));
    if (one.at("support").to_number<int64_t>() > static_cast<int64_t>(likely.size())) continue;
    for (const auto& [token, count] : counts)
      EXPECT_TRUE(count == 0 || std::ranges::find(likely, token) != likely.end())
          << token << " has no probability: " << json::to_text(one.at("asked"));
  }
}

TEST_P(SamplingGolden, LogprobsOfTheMostLikely) {
  for (const json::value& one : expected_.at("logprobs").as_array()) {
    const auto choices =
        run(tokens_of(one.at("prompt")), {.temperature = 0, .max_tokens = 1, .logprobs = 20});
    const GeneratedToken& token = choices[0].at(0);
    const std::vector<int32_t> likely = tokens_of(one.at("tokens"));
    ASSERT_EQ(token.top.size(), likely.size());
    EXPECT_EQ(token.id, likely[0]);
    for (size_t i = 0; i < likely.size(); ++i)
      EXPECT_NEAR(token.top[i].second, one.at("logprobs").as_array()[i].to_number<double>(), 2e-4)
          << i;
  }
}

}  // namespace
}  // namespace millrace
