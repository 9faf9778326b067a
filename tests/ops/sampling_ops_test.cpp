// The sampling op on the CPU or the GPU: against distributions in double, and rows packed one after
// another draw what each of them draws alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <numeric>

#include "kernels/cpu/philox.h"
#include "kernels/reference/sampling_reference.h"
#include "ops/backends.h"

namespace millrace {
namespace {

constexpr int64_t kVocab = 700;

// The sampler does not depend on the types that a model computes in.
class SamplingOpsTest : public testing::Test {
 protected:
  SamplingOpsTest()
      : trace_(__FILE__, __LINE__, "MILLRACE_TEST_SEED=" + std::to_string(random.seed())) {
    if (tests_a_gpu()) {
      const Precision precision{.hidden = DType::kBF16, .product = DType::kBF16};
      device_ = std::make_unique<CudaTestDevice>(precision);
    } else {
      device_ = std::make_unique<CpuTestDevice>(cpu::Isa::kPortable, Precision{});
    }
  }

  Ops& ops() { return device_->ops(); }

  SampledTokens sample(const Tensor& logits, const SamplingBatch& batch) {
    device_->poison();
    const SampledTokens out = ops().sample(logits, batch);
    ops().wait_sampled();
    return out;
  }

  // Rows of logits without gaps, or with some.
  Tensor upload(const std::vector<float>& values, int64_t rows, int64_t gap = 0) {
    return device_->upload(values, DType::kF32, rows, gap);
  }

  void expect_draws(int64_t vocab, float deviation, SamplingRow row,
                    const reference::Sampling& sampling);

  cpu::Random random;

 private:
  testing::ScopedTrace trace_;
  std::unique_ptr<TestDevice> device_;
};

std::vector<int32_t> values_of(const Tensor& tensor) {
  const auto* values = static_cast<const int32_t*>(tensor.data);
  return {values, values + tensor.numel()};
}

TEST_F(SamplingOpsTest, RowsDrawTogetherWhatTheyDrawAlone) {
  const Tensor logits = upload(random.normal(3 * kVocab, 3), 3, 5);
  const std::vector<int32_t> tokens = {1, 2, 3};
  const std::vector<float> biases = {5, -5, -std::numeric_limits<float>::infinity()};
  const std::vector<int32_t> counts = {0, 1, 2};
  std::vector<uint32_t> mask((kVocab + 31) / 32, 0xf0f0f0f0);
  const std::vector<SamplingRow> rows = {
      {.logits_row = 2, .temperature = 0, .num_logprobs = 3},
      {.logits_row = 0,
       .top_p = 0.9f,
       .seed = 4,
       .position = 9,
       .bias_tokens = tokens,
       .biases = biases},
      {.logits_row = 0,
       .repetition_penalty = 2,
       .seed = 5,
       .counted_tokens = tokens,
       .counts = counts},
      {.logits_row = 1, .top_k = 9, .min_p = 0.01f, .mask = mask, .num_logprobs = 0},
      {.logits_row = 1, .mask = mask}};
  SamplingBatch all;
  for (const SamplingRow& row : rows) all.append(row);
  const SampledTokens together = sample(logits, all);
  const std::vector<int32_t> drawn = values_of(together.tokens);
  EXPECT_EQ(values_of(together.ranks)[0], 1) << "greedy";
  EXPECT_EQ(values_of(together.top_tokens)[0], drawn[0]);
  for (const size_t masked : {3, 4}) EXPECT_GE(drawn[masked] % 8, 4);
  for (size_t i = 0; i < rows.size(); ++i) {
    SamplingBatch alone;
    alone.append(rows[i]);
    EXPECT_EQ(values_of(sample(logits, alone).tokens)[0], drawn[i]) << "row " << i;
  }
}

TEST_F(SamplingOpsTest, TellsTheLogprobsOfAGivenToken) {
  const std::vector<float> values = random.normal(kVocab, 3);
  const Tensor logits = upload(values, 1);
  double total = 0;
  for (const float value : values) total += std::exp(static_cast<double>(value));
  for (const int32_t token : {0, 5, static_cast<int32_t>(kVocab) - 1}) {
    SamplingBatch batch;  // which says otherwise, and is not asked
    batch.append({.temperature = 0, .num_logprobs = 2, .given_token = token});
    const SampledTokens told = sample(logits, batch);
    EXPECT_EQ(values_of(told.tokens)[0], token);
    const float own = values[static_cast<size_t>(token)];
    EXPECT_NEAR(*static_cast<float*>(told.logprobs.data), own - std::log(total), 1e-4);
    EXPECT_EQ(values_of(told.ranks)[0],
              1 + std::ranges::count_if(values, [&](float value) { return value > own; }));
    EXPECT_EQ(values_of(told.top_tokens)[0], std::ranges::max_element(values) - values.begin());
  }
}

TEST_F(SamplingOpsTest, ResultsStayForOneMoreSample) {
  std::vector<float> values(4, 0);
  values[2] = 9;
  const Tensor logits = upload(values, 1);
  SamplingBatch greedy, other;
  greedy.append({.temperature = 0});
  other.append({.given_token = 3});
  const SampledTokens first = ops().sample(logits, greedy);
  const SampledTokens second = ops().sample(logits, other);
  ops().wait_sampled();
  EXPECT_EQ(values_of(first.tokens)[0], 2);
  EXPECT_EQ(values_of(second.tokens)[0], 3);
}

// Token by token: the number drawn lies in the token's part of the sums of probabilities.
void SamplingOpsTest::expect_draws(int64_t vocab, float deviation, SamplingRow row,
                                   const reference::Sampling& sampling) {
  constexpr double kTolerance = 1e-4;  // of sums of probabilities: weights are floats
  constexpr uint64_t kDraws = 200;
  const std::vector<float> logits = random.normal(vocab, deviation);
  const std::vector<double> p = reference::sampling_probabilities(logits, sampling);
  // The border of top_p or min_p may fall on the other side of a token in float.
  reference::Sampling wider = sampling;
  wider.min_p *= 1 - 1e-5;
  wider.top_p += 1e-5;
  const std::vector<double> may_be_kept = reference::sampling_probabilities(logits, wider);
  std::vector<double> sums(p.size());
  std::partial_sum(p.begin(), p.end(), sums.begin());
  SamplingBatch batch;
  row.seed = 17;
  for (row.position = 0; row.position < kDraws; ++row.position) batch.append(row);
  const std::vector<int32_t> drawn = values_of(sample(upload(logits, 1), batch).tokens);
  for (uint64_t i = 0; i < kDraws; ++i) {
    const double u = philox_uniform(17, i);
    ASSERT_TRUE(drawn[i] >= 0 && drawn[i] < vocab) << drawn[i];
    const auto token = static_cast<size_t>(drawn[i]);
    EXPECT_GT(may_be_kept[token], 0) << "token " << token << " must not be drawn";
    EXPECT_GE(u, sums[token] - p[token] - kTolerance) << "token " << token;
    EXPECT_LE(u, sums[token] + kTolerance) << "token " << token;
  }
}

TEST_F(SamplingOpsTest, EachProcessorKeepsWhatItShould) {
  for (const int64_t vocab : {2000, 33000}) {  // of the second more are kept than fit into a list
    for (const float deviation : {0.2f, 1.0f, 4.0f}) {
      expect_draws(vocab, deviation, {}, {});
      expect_draws(vocab, deviation, {.temperature = 0.5f}, {.temperature = 0.5});
      expect_draws(vocab, deviation, {.temperature = 2}, {.temperature = 2});
      for (const int32_t k : {1, 40, 20000, 40000})
        expect_draws(vocab, deviation, {.top_k = k}, {.top_k = k});
      for (const float top_p : {1e-6f, 0.5f, 0.99f})
        expect_draws(vocab, deviation, {.top_p = top_p}, {.top_p = static_cast<double>(top_p)});
      expect_draws(vocab, deviation, {.min_p = 0.1f}, {.min_p = static_cast<double>(0.1f)});
      expect_draws(vocab, deviation,
                   {.temperature = 1.5f, .top_k = 50, .top_p = 0.8f, .min_p = 0.01f},
                   {.temperature = 1.5,
                    .top_k = 50,
                    .top_p = static_cast<double>(0.8f),
                    .min_p = static_cast<double>(0.01f)});
    }
  }
}

TEST_F(SamplingOpsTest, EqualTokensAtTheBorder) {
  for (const int64_t vocab : {64, 20000}) {
    const Tensor logits = upload(std::vector<float>(static_cast<size_t>(vocab), 1.5f), 1);
    SamplingBatch by_mass, by_count;
    for (uint64_t i = 0; i < 250; ++i) {
      by_mass.append({.top_p = 0.25f, .seed = 3, .position = i});
      by_count.append({.top_k = 5, .seed = 3, .position = i});
    }
    const int32_t last = std::ranges::max(values_of(sample(logits, by_mass).tokens));
    EXPECT_TRUE(last < vocab / 4 && last > vocab / 5) << "a quarter, the first ones";
    EXPECT_GT(std::ranges::max(values_of(sample(logits, by_count).tokens)), vocab / 2)
        << "equals of the fifth stay";
  }
}

TEST_F(SamplingOpsTest, NothingToDrawIsSaid) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {-infinity, std::numeric_limits<float>::quiet_NaN(), infinity}) {
    const Tensor logits = upload(std::vector<float>(40, value), 1);
    SamplingBatch batch;
    for (const int32_t num_logprobs : {-1, 2}) {
      batch.append({.temperature = 0, .num_logprobs = num_logprobs});
      batch.append({.top_p = 0.5f, .num_logprobs = num_logprobs});
    }
    EXPECT_EQ(values_of(sample(logits, batch).tokens), std::vector<int32_t>(4, -1)) << value;
  }
}

// Pearson's test: under the right distribution the statistic exceeds the bound in one run of a
// million (quantile by Wilson and Hilferty).
TEST_F(SamplingOpsTest, DrawsFollowTheirDistribution) {
  constexpr int64_t kTokens = 50;
  constexpr int64_t kDraws = 40'000;
  const std::vector<float> values = random.normal(kTokens);
  const Tensor logits = upload(values, 1);
  const std::vector<double> p =
      reference::sampling_probabilities(values, {.top_p = static_cast<double>(0.9f)});
  std::vector<int64_t> counts(kTokens);
  constexpr int64_t kAtOnce = 250;
  for (int64_t begin = 0; begin < kDraws; begin += kAtOnce) {
    SamplingBatch batch;
    for (int64_t i = begin; i < begin + kAtOnce; ++i)
      batch.append({.top_p = 0.9f, .seed = random.seed(), .position = static_cast<uint64_t>(i)});
    for (const int32_t token : values_of(sample(logits, batch).tokens))
      ++counts.at(static_cast<size_t>(token));
  }
  double statistic = 0;
  double freedom = -1;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) {
      EXPECT_EQ(counts[i], 0);
      continue;
    }
    const double expected = p[i] * kDraws;
    statistic += std::pow(static_cast<double>(counts[i]) - expected, 2) / expected;
    ++freedom;
  }
  constexpr double kDeviations = 4.753;  // 1e-6 of a normal distribution lie above
  const double part = 2 / (9 * freedom);
  EXPECT_LT(statistic, freedom * std::pow(1 - part + kDeviations * std::sqrt(part), 3));
}

// --- beside the CPU ------------------------------------------------------------------------------

// Logits of one kind each: flat, tied, peaked, with infinities, with NaN.
std::vector<float> odd_logits(cpu::Random& random, int64_t vocab, int64_t kind) {
  constexpr float kDeviations[] = {1, 0.01f, 1, 3, 8, 2, 2, 2};
  std::vector<float> x = random.normal(vocab, kDeviations[kind]);
  for (float& value : x) {
    if (kind == 0) value = 1.5f;
    if (kind == 5) value = std::round(2 * value) / 2;
    if (kind == 6 && random.integer(0, 9) > 0) value = -std::numeric_limits<float>::infinity();
    if (kind == 7 && random.integer(0, 9) == 0) value = std::numeric_limits<float>::quiet_NaN();
  }
  if (kind == 4) x[static_cast<size_t>(random.integer(0, vocab - 1))] = 40;
  return x;
}

struct OddRow {
  SamplingRow row;
  std::vector<int32_t> bias_tokens, counted_tokens, counts;
  std::vector<float> biases;
  std::vector<uint32_t> mask;
};

OddRow odd_row(cpu::Random& random, int64_t vocab) {
  const auto one_of = [&](int64_t n) { return random.integer(1, n) == 1; };
  const auto token = [&] { return static_cast<int32_t>(random.integer(0, vocab - 1)); };
  OddRow odd;
  SamplingRow& row = odd.row;
  row.temperature = one_of(5) ? 0 : static_cast<float>(random.integer(2, 15)) / 10;
  if (one_of(2)) row.top_k = static_cast<int32_t>(random.integer(1, one_of(4) ? vocab : 100));
  if (one_of(2)) row.top_p = static_cast<float>(random.integer(0, 1000)) / 1000;
  if (one_of(3)) row.min_p = one_of(2) ? 0.05f : 0.5f;
  row.seed = static_cast<uint64_t>(random.integer(0, INT64_MAX));
  row.position = static_cast<uint64_t>(random.integer(0, 5000));
  if (one_of(3)) {
    for (int64_t i = random.integer(1, 40); i > 0; --i) {
      odd.bias_tokens.push_back(one_of(3) && i > 1 && !odd.bias_tokens.empty()
                                    ? odd.bias_tokens.front()  // added once more
                                    : token());
      odd.biases.push_back(one_of(6) ? -std::numeric_limits<float>::infinity()
                                     : static_cast<float>(random.integer(-50, 50)) / 10);
    }
  }
  if (one_of(3)) {
    for (int32_t t = token() % 7; t < vocab; t += 1 + token() % 29) {
      odd.counted_tokens.push_back(t);
      odd.counts.push_back(static_cast<int32_t>(random.integer(0, 3)));
    }
    row.repetition_penalty = 1.2f;
    row.presence_penalty = one_of(2) ? 0.7f : 0;
    row.frequency_penalty = one_of(2) ? 0.3f : 0;
  }
  if (one_of(4)) {
    odd.mask.resize(static_cast<size_t>((vocab + 31) / 32));
    for (uint32_t& word : odd.mask) word = static_cast<uint32_t>(random.integer(0, UINT32_MAX));
  }
  if (one_of(2)) row.num_logprobs = static_cast<int32_t>(random.integer(0, 20));
  row.bias_tokens = odd.bias_tokens;
  row.biases = odd.biases;
  row.counted_tokens = odd.counted_tokens;
  row.counts = odd.counts;
  row.mask = odd.mask;
  return odd;
}

// Only a rounding at a threshold, or of the sums, may draw another token than the CPU.
TEST_F(SamplingOpsTest, DrawsWhatTheCpuDraws) {
  if (!tests_a_gpu()) GTEST_SKIP() << "this is the CPU";
  CpuTestDevice cpu(cpu::Isa::kPortable, Precision{});
  int64_t num_rows = 0, num_equal = 0, num_told = 0;
  for (const int64_t vocab : {1, 31, 257, 700, 4096, 32003, 151936}) {
    constexpr int64_t kKinds = 8;
    std::vector<float> values;
    for (int64_t kind = 0; kind < kKinds; ++kind) {
      const std::vector<float> x = odd_logits(random, vocab, kind);
      values.insert(values.end(), x.begin(), x.end());
    }
    SamplingBatch batch;
    for (int64_t i = 0; i < 25 * kKinds; ++i) {
      OddRow odd = odd_row(random, vocab);
      odd.row.logits_row = i % kKinds;
      batch.append(odd.row);
    }
    const SampledTokens here = sample(upload(values, kKinds), batch);
    const SampledTokens there = cpu.ops().sample(cpu.upload(values, DType::kF32, kKinds, 0), batch);
    const auto floats_of = [](const Tensor& tensor) {
      return static_cast<const float*>(tensor.data);
    };
    for (size_t i = 0; i < static_cast<size_t>(batch.num_rows()); ++i) {
      const int32_t token = values_of(here.tokens)[i];
      const int32_t expected = values_of(there.tokens)[i];
      const std::string of = fmt::format("row {} of {} logits", i, vocab);
      ++num_rows;
      num_equal += token == expected;
      EXPECT_EQ(token < 0, expected < 0) << of;
      if (batch.temperatures[i] == 0) {
        EXPECT_EQ(token, expected) << of;
      }
      if (token != expected || token < 0 || batch.num_logprobs[i] < 0) continue;
      ++num_told;
      EXPECT_EQ(values_of(here.ranks)[i], values_of(there.ranks)[i]) << of;
      const auto near = [&](float a, float b) {
        EXPECT_TRUE(a == b || std::abs(a - b) < 1e-4) << of;
      };
      if (batch.logits_rows[i] == 7) continue;  // where NaN stands among the most likely is open
      near(floats_of(here.logprobs)[i], floats_of(there.logprobs)[i]);
      const auto stride = static_cast<size_t>(here.top_tokens.columns());
      const auto num_top = static_cast<size_t>(std::min<int64_t>(batch.num_logprobs[i], vocab));
      for (size_t j = i * stride; j < i * stride + num_top; ++j) {
        EXPECT_EQ(values_of(here.top_tokens)[j], values_of(there.top_tokens)[j]) << of;
        near(floats_of(here.top_logprobs)[j], floats_of(there.top_logprobs)[j]);
      }
    }
  }
  std::cout << "[          ] " << num_equal << " of " << num_rows << " draws equal the CPU's, "
            << num_told << " with logprobs\n";
  EXPECT_GE(static_cast<double>(num_equal), 0.995 * static_cast<double>(num_rows));
}

TEST_F(SamplingOpsTest, WhatIsNotThereIsABugOfOurs) {
  const Tensor logits = upload(std::vector<float>(10, 1), 2);
  const std::vector<int32_t> token = {5};
  const std::vector<float> bias = {1};
  for (const SamplingRow& row :
       std::vector<SamplingRow>{{.logits_row = 2},
                                {.given_token = 5},
                                {.bias_tokens = token, .biases = bias},
                                {.counted_tokens = token, .counts = token}}) {
    SamplingBatch batch;
    batch.append(row);
    EXPECT_THROW(ops().sample(logits, batch), InternalError);
  }
}

}  // namespace
}  // namespace millrace
