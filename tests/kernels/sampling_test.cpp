// The sampler against distributions computed naively in double.
#include "kernels/cpu/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "kernels/cpu/philox.h"
#include "kernels/kernel_test.h"
#include "kernels/reference/sampling_reference.h"

namespace millrace::cpu {
namespace {

using reference::Sampling;

struct Drawn {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<int32_t> ranks;
  std::vector<int32_t> top_tokens;
  std::vector<float> top_logprobs;
};

Drawn draw(const std::vector<float>& logits, int64_t vocab, const std::vector<SampleRow>& rows,
           int num_threads = 2, int64_t top_stride = 8) {
  ThreadPool pool(num_threads);
  Drawn drawn{.tokens = std::vector<int32_t>(rows.size()),
              .logprobs = std::vector<float>(rows.size()),
              .ranks = std::vector<int32_t>(rows.size()),
              .top_tokens = std::vector<int32_t>(rows.size() * static_cast<size_t>(top_stride)),
              .top_logprobs = std::vector<float>(rows.size() * static_cast<size_t>(top_stride))};
  std::vector<float> scratch(static_cast<size_t>(num_threads * vocab), NAN);
  const std::vector<float> before = logits;
  sample(pool, {.logits = logits.data(),
                .logits_stride = vocab,
                .vocab = vocab,
                .rows = rows,
                .scratch = scratch.data(),
                .top_stride = top_stride,
                .tokens = drawn.tokens.data(),
                .logprobs = drawn.logprobs.data(),
                .ranks = drawn.ranks.data(),
                .top_tokens = drawn.top_tokens.data(),
                .top_logprobs = drawn.top_logprobs.data()});
  EXPECT_EQ(std::memcmp(logits.data(), before.data(), logits.size() * sizeof(float)), 0)
      << "logits are not changed";
  return drawn;
}

class SamplingTest : public testing::Test {
 protected:
  SamplingTest()
      : trace_(__FILE__, __LINE__, "MILLRACE_TEST_SEED=" + std::to_string(random.seed())) {}

  // Token by token: the number drawn lies in the token's part of the sums of probabilities.
  void expect_draws(int64_t vocab, float deviation, const std::function<void(SampleRow&)>& change,
                    const Sampling& sampling) {
    const std::vector<float> logits = random.normal(vocab, deviation);
    const std::vector<double> p = reference::sampling_probabilities(logits, sampling);
    // The border of top_p or min_p may fall on the other side of a token in float.
    Sampling wider = sampling;
    wider.min_p *= 1 - 1e-5;
    wider.top_p += 1e-5;
    const std::vector<double> may_be_kept = reference::sampling_probabilities(logits, wider);
    std::vector<double> sums(p.size());
    std::partial_sum(p.begin(), p.end(), sums.begin());
    std::vector<SampleRow> rows(200);
    for (size_t i = 0; i < rows.size(); ++i) {
      change(rows[i]);
      rows[i].seed = 17;
      rows[i].position = i;
    }
    const Drawn drawn = draw(logits, vocab, rows);
    for (size_t i = 0; i < rows.size(); ++i) {
      const double u = philox_uniform(17, i);
      ASSERT_GE(drawn.tokens[i], 0);
      const auto token = static_cast<size_t>(drawn.tokens[i]);
      EXPECT_GT(may_be_kept[token], 0) << "token " << token << " must not be drawn";
      EXPECT_GE(u, sums[token] - p[token] - kTolerance) << "token " << token;
      EXPECT_LE(u, sums[token] + kTolerance) << "token " << token;
    }
  }

  // Of sums of probabilities: weights are floats.
  static constexpr double kTolerance = 1e-4;

  Random random;

 private:
  testing::ScopedTrace trace_;
};

TEST_F(SamplingTest, PhiloxGivesItsPublishedNumbers) {
  // Random123's known answers (kat_vectors).
  EXPECT_EQ(philox({0, 0, 0, 0}, 0),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, ~uint64_t{0}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST_F(SamplingTest, GreedyTakesTheFirstOfTheGreatest) {
  for (const int64_t vocab : {1, 31, 32, 1023, 1024, 1025, 5000}) {
    std::vector<float> logits = random.normal(vocab);
    const int64_t best = random.integer(0, vocab - 1);
    logits[static_cast<size_t>(best)] = 100;
    logits.back() = 100;
    const Drawn drawn = draw(logits, vocab, {{.temperature = 0}});
    EXPECT_EQ(drawn.tokens[0], best);
  }
}

TEST_F(SamplingTest, EachProcessorKeepsWhatItShould) {
  expect_draws(2000, 3, [](SampleRow&) {}, {});
  expect_draws(2000, 3, [](SampleRow& r) { r.temperature = 0.5f; }, {.temperature = 0.5});
  expect_draws(2000, 3, [](SampleRow& r) { r.temperature = 2; }, {.temperature = 2});
  expect_draws(2000, 1, [](SampleRow& r) { r.top_k = 40; }, {.top_k = 40});
  expect_draws(2000, 1, [](SampleRow& r) { r.top_k = 1; }, {.top_k = 1});
  expect_draws(2000, 1, [](SampleRow& r) { r.top_k = 5000; }, {.top_k = 5000});
  expect_draws(2000, 2, [](SampleRow& r) { r.min_p = 0.1f; }, {.min_p = 0.1f});
  expect_draws(2000, 2, [](SampleRow& r) { r.top_p = 0.5f; }, {.top_p = 0.5f});
  expect_draws(2000, 2, [](SampleRow& r) { r.top_p = 0.99f; }, {.top_p = 0.99f});
  expect_draws(2000, 2, [](SampleRow& r) { r.top_p = 1e-6f; }, {.top_p = 1e-6f});
  expect_draws(2000, 2,
               [](SampleRow& r) {
                 r.temperature = 1.5f;
                 r.min_p = 0.01f;
                 r.top_k = 50;
                 r.top_p = 0.8f;
               },
               {.temperature = 1.5, .top_k = 50, .top_p = 0.8f, .min_p = 0.01f});
}

TEST_F(SamplingTest, MaskBiasesAndPenaltiesChangeLogits) {
  constexpr int64_t kVocab = 300;
  Sampling sampling{.repetition_penalty = 1.5, .presence_penalty = 0.75, .frequency_penalty = 0.25};
  std::vector<uint32_t> mask((kVocab + 31) / 32);
  std::vector<TokenBias> biases;
  std::vector<TokenCount> counts;
  for (int32_t token = 0; token < kVocab; ++token) {
    const bool allowed = random.integer(0, 3) > 0;
    sampling.allowed.push_back(allowed);
    if (allowed) mask[static_cast<size_t>(token / 32)] |= 1u << (token % 32);
    if (token % 3 == 0) biases.push_back({token, static_cast<float>(token % 7) - 3});
    if (token % 11 == 0) biases.back().bias = -std::numeric_limits<float>::infinity();
    if (token % 2 == 0) counts.push_back({token, token % 5});
  }
  for (const TokenBias& bias : biases) sampling.biases.emplace_back(bias.token, bias.bias);
  for (const TokenCount& count : counts) sampling.counts.emplace_back(count.token, count.count);
  const auto change = [&](SampleRow& row) {
    row.repetition_penalty = 1.5f;
    row.presence_penalty = 0.75f;
    row.frequency_penalty = 0.25f;
    row.mask = mask.data();
    row.biases = biases;
    row.counts = counts;
  };
  expect_draws(kVocab, 2, change, sampling);
  const std::vector<float> logits = random.normal(kVocab, 2);
  SampleRow greedy{.temperature = 0};
  change(greedy);
  const std::vector<double> x = reference::adjusted_logits(logits, sampling);
  EXPECT_EQ(draw(logits, kVocab, {greedy}).tokens[0], std::ranges::max_element(x) - x.begin());
}

TEST_F(SamplingTest, EqualTokensAtTheBorder) {
  const std::vector<float> logits(64, 1.5f);
  std::vector<SampleRow> rows(400);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = {.top_p = 0.25f, .seed = 3, .position = i};
  Drawn drawn = draw(logits, 64, rows);
  EXPECT_EQ(*std::ranges::max_element(drawn.tokens), 15) << "a quarter, the first ones";
  for (SampleRow& row : rows) row.top_p = 1, row.top_k = 5;
  drawn = draw(logits, 64, rows);
  EXPECT_GT(*std::ranges::max_element(drawn.tokens), 30) << "equals of the fifth stay";
}

TEST_F(SamplingTest, NothingToDrawIsSaid) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> none(40, -infinity);
  const std::vector<float> nans(40, NAN);
  for (const float temperature : {0.0f, 1.0f}) {
    EXPECT_EQ(draw(none, 40, {{.temperature = temperature}}).tokens[0], -1);
    EXPECT_EQ(draw(nans, 40, {{.temperature = temperature}}).tokens[0], -1);
  }
}

TEST_F(SamplingTest, LogprobsAreOfTheLogitsAsTheyCame) {
  constexpr int64_t kVocab = 1500;
  std::vector<float> logits = random.normal(kVocab, 4);
  logits[7] = logits[9] = 50;  // equals: the first token comes first
  const std::vector<double> expected = reference::log_softmax(logits);
  const std::vector<TokenBias> biases = {{7, -100.0f}, {9, -100.0f}};
  const Drawn drawn = draw(logits, kVocab, {{.temperature = 0.7f, .biases = biases, .num_top = 5}});
  const auto token = static_cast<size_t>(drawn.tokens[0]);
  EXPECT_NEAR(drawn.logprobs[0], expected[token], 1e-4);
  EXPECT_EQ(drawn.ranks[0],
            1 + std::ranges::count_if(logits, [&](float x) { return x > logits[token]; }));
  std::vector<int32_t> order(kVocab);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(drawn.top_tokens[i], order[i]);
    EXPECT_NEAR(drawn.top_logprobs[i], expected[static_cast<size_t>(order[i])], 1e-4);
  }
}

TEST_F(SamplingTest, ARowDoesNotDependOnOthersOrOnThreads) {
  constexpr int64_t kVocab = 3000;
  constexpr int64_t kRows = 9;
  const std::vector<float> logits = random.normal(kVocab * kRows, 2);
  std::vector<SampleRow> rows;
  for (int64_t r = 0; r < kRows; ++r)
    rows.push_back({.logits_row = r,
                    .temperature = r % 3 == 0 ? 0.0f : 1.0f,
                    .top_p = r % 2 == 0 ? 0.9f : 1.0f,
                    .seed = static_cast<uint64_t>(r),
                    .position = 5,
                    .num_top = 3});
  const Drawn together = draw(logits, kVocab, rows, 3);
  for (size_t r = 0; r < rows.size(); ++r) {
    const Drawn alone = draw(logits, kVocab, {rows[r]}, 1);
    EXPECT_EQ(alone.tokens[0], together.tokens[r]);
    EXPECT_EQ(alone.logprobs[0], together.logprobs[r]);
  }
}

// Pearson's test: under the right distribution the statistic exceeds the bound in one run of a
// million (quantile by Wilson and Hilferty).
TEST_F(SamplingTest, DrawsFollowTheirDistribution) {
  constexpr int64_t kVocab = 50;
  constexpr int kDraws = 100'000;
  const std::vector<float> logits = random.normal(kVocab, 1);
  const std::vector<double> p = reference::sampling_probabilities(logits, {.top_p = 0.9f});
  std::vector<SampleRow> rows(kDraws);
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = {.top_p = 0.9f, .seed = random.seed(), .position = i};
  std::vector<int64_t> counts(kVocab);
  for (const int32_t token : draw(logits, kVocab, rows).tokens)
    ++counts.at(static_cast<size_t>(token));
  double statistic = 0;
  double freedom = -1;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) continue;
    const double expected = p[i] * kDraws;
    statistic += (static_cast<double>(counts[i]) - expected) *
                 (static_cast<double>(counts[i]) - expected) / expected;
    ++freedom;
  }
  constexpr double kDeviations = 4.753;  // 1e-6 of a normal distribution lie above
  const double part = 2 / (9 * freedom);
  EXPECT_LT(statistic, freedom * std::pow(1 - part + kDeviations * std::sqrt(part), 3));
}

}  // namespace
}  // namespace millrace::cpu
