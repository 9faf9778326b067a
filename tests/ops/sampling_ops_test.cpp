// The sampling op: rows packed one after another draw what each of them draws alone.
#include <gtest/gtest.h>

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

TEST(SamplingOps, WhatIsNotThereIsABugOfOurs) {
  CpuTestDevice device(cpu::Isa::kPortable, {});
  const Tensor logits = device.upload(std::vector<float>(10, 1), DType::kF32, 2, 0);
  const std::vector<int32_t> token = {5};
  const std::vector<float> bias = {1};
  for (const SamplingRow& row :
       std::vector<SamplingRow>{{.logits_row = 2},
                                {.bias_tokens = token, .biases = bias},
                                {.counted_tokens = token, .counts = token}}) {
    SamplingBatch batch;
    batch.append(row);
    EXPECT_THROW(device.ops().sample(logits, batch), InternalError);
  }
}

}  // namespace
}  // namespace millrace
