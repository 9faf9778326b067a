// Ranges of sampling parameters: the borders pass, what lies beyond is refused by name.
#include "runtime/sampling_params.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"

namespace millrace {
namespace {

const SamplingLimits kLimits{.vocab_size = 100};

std::string refusal(const std::function<void(SamplingParams&)>& change) {
  SamplingParams params;
  params.max_tokens = 10;
  change(params);
  try {
    validate(params, kLimits);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message().substr(0, error.message().find(' '));
  }
  return "";
}

TEST(SamplingParams, TheDefaultsAreAccepted) {
  EXPECT_EQ(refusal([](SamplingParams&) {}), "");
}

TEST(SamplingParams, BordersAreAccepted) {
  EXPECT_EQ(refusal([](SamplingParams& p) { p.temperature = 0; }), "");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.top_k = -1; }), "");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.min_p = 1; }), "");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.logit_bias = {{99, -100.0f}}; }), "");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.min_tokens = 10; }), "");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.n = 2, p.best_of = 2; }), "");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.logprobs = 20; }), "");
}

TEST(SamplingParams, WhatLiesBeyondIsRefusedByName) {
  EXPECT_EQ(refusal([](SamplingParams& p) { p.temperature = -0.1f; }), "temperature");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.temperature = NAN; }), "temperature");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.top_k = -2; }), "top_k");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.top_p = 0; }), "top_p");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.top_p = 1.1f; }), "top_p");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.min_p = -1; }), "min_p");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.repetition_penalty = 0; }), "repetition_penalty");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.presence_penalty = 3; }), "presence_penalty");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.frequency_penalty = -3; }), "frequency_penalty");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.logit_bias = {{100, 0.0f}}; }), "logit_bias");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.logit_bias = {{1, 101.0f}}; }), "logit_bias");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.logit_bias.resize(1025); }), "logit_bias");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.bad_words = {{}}; }), "bad_words");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.bad_words = {{1, -1}}; }), "bad_words");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.allowed_token_ids = {100}; }), "allowed_token_ids");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.stop_token_ids = {-1}; }), "stop_token_ids");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.max_tokens = 0; }), "max_tokens");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.min_tokens = 11; }), "min_tokens");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.stop = {""}; }), "stop");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.stop = {std::string(1001, 'x')}; }), "stop");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.n = 129; }), "n");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.n = 3, p.best_of = 2; }), "best_of");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.logprobs = 21; }), "logprobs");
  EXPECT_EQ(refusal([](SamplingParams& p) { p.prompt_logprobs = -1; }), "prompt_logprobs");
}

}  // namespace
}  // namespace millrace
