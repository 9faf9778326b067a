// The sampling op: rows packed one after another draw what each of them draws alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/backends.h"

namespace millrace {
namespace {

constexpr int64_t kVocab = 700;

std::vector<int32_t> values_of(const Tensor& tensor) {
  const auto* values = static_cast<const int32_t*>(tensor.data);
  return {values, values + tensor.numel()};
}

TEST(SamplingOps, RowsDrawTogetherWhatTheyDrawAlone) {
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  CpuTestDevice device(cpu::Isa::kPortable, {});
  const Tensor logits = device.upload(random.normal(3 * kVocab, 3), DType::kF32, 3, 5);
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
  device.poison();
  const SampledTokens together = device.ops().sample(logits, all);
  const std::vector<int32_t> drawn = values_of(together.tokens);
  EXPECT_EQ(values_of(together.ranks)[0], 1) << "greedy";
  EXPECT_EQ(values_of(together.top_tokens)[0], drawn[0]);
  for (const size_t masked : {3, 4}) EXPECT_GE(drawn[masked] % 8, 4);
  for (size_t i = 0; i < rows.size(); ++i) {
    SamplingBatch alone;
    alone.append(rows[i]);
    device.poison();
    EXPECT_EQ(values_of(device.ops().sample(logits, alone).tokens)[0], drawn[i]) << "row " << i;
  }
}

TEST(SamplingOps, TellsTheLogprobsOfAGivenToken) {
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  CpuTestDevice device(cpu::Isa::kPortable, {});
  const std::vector<float> values = random.normal(kVocab, 3);
  const Tensor logits = device.upload(values, DType::kF32, 1, 0);
  double total = 0;
  for (const float value : values) total += std::exp(static_cast<double>(value));
  for (const int32_t token : {0, 5, static_cast<int32_t>(kVocab) - 1}) {
    SamplingBatch batch;  // which says otherwise, and is not asked
    batch.append({.temperature = 0, .num_logprobs = 2, .given_token = token});
    device.poison();
    const SampledTokens told = device.ops().sample(logits, batch);
    device.ops().wait_sampled();
    EXPECT_EQ(values_of(told.tokens)[0], token);
    const float own = values[static_cast<size_t>(token)];
    EXPECT_NEAR(*static_cast<float*>(told.logprobs.data), own - std::log(total), 1e-4);
    EXPECT_EQ(values_of(told.ranks)[0],
              1 + std::ranges::count_if(values, [&](float value) { return value > own; }));
    EXPECT_EQ(values_of(told.top_tokens)[0], std::ranges::max_element(values) - values.begin());
  }
}

TEST(SamplingOps, ResultsStayForOneMoreSample) {
  CpuTestDevice device(cpu::Isa::kPortable, {});
  std::vector<float> values(4, 0);
  values[2] = 9;
  const Tensor logits = device.upload(values, DType::kF32, 1, 0);
  SamplingBatch greedy, other;
  greedy.append({.temperature = 0});
  other.append({.given_token = 3});
  const SampledTokens first = device.ops().sample(logits, greedy);
  const SampledTokens second = device.ops().sample(logits, other);
  EXPECT_EQ(values_of(first.tokens)[0], 2);
  EXPECT_EQ(values_of(second.tokens)[0], 3);
}

TEST(SamplingOps, WhatIsNotThereIsABugOfOurs) {
  CpuTestDevice device(cpu::Isa::kPortable, {});
  const Tensor logits = device.upload(std::vector<float>(10, 1), DType::kF32, 2, 0);
  const std::vector<int32_t> token = {5};
  const std::vector<float> bias = {1};
  for (const SamplingRow& row :
       std::vector<SamplingRow>{{.logits_row = 2},
                                {.given_token = 5},
                                {.bias_tokens = token, .biases = bias},
                                {.counted_tokens = token, .counts = token}}) {
    SamplingBatch batch;
    batch.append(row);
    EXPECT_THROW(device.ops().sample(logits, batch), InternalError);
  }
}

}  // namespace
}  // namespace millrace
