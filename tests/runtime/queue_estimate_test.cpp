// How long somebody who comes now waits.
#include "runtime/queue_estimate.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

TEST(TokenRateTest, IsTheMeanOfRecentSteps) {
  TokenRate rate;
  EXPECT_EQ(rate.tokens_per_s(), 0);
  rate.observe(1000, 0.1);
  EXPECT_DOUBLE_EQ(rate.tokens_per_s(), 10'000);
  rate.observe(1000, 0.3);  // by time: two steps in 0.4 s, the older one a little lighter
  EXPECT_NEAR(rate.tokens_per_s(), 5'000, 100);
  for (int i = 0; i < 200; ++i) rate.observe(500, 0.01);
  EXPECT_NEAR(rate.tokens_per_s(), 50'000, 50);
}

TEST(QueueEstimateTest, NothingIsKnownBeforeAFullStep) {
  const QueueEstimate queue{.num_waiting_tokens = 1'000'000, .num_requests = 9, .step_tokens = 100};
  EXPECT_EQ(queue.drain_time(), 0);
  EXPECT_EQ(queue.finish_time(1'000'000), 0);
}

TEST(QueueEstimateTest, WhatAStepHoldsDoesNotCount) {
  QueueEstimate queue{
      .num_waiting_tokens = 100, .num_requests = 9, .step_tokens = 100, .tokens_per_s = 1e-3};
  EXPECT_EQ(queue.drain_time(), 0);
  EXPECT_EQ(queue.wait_time(1'000'000), 0);
  EXPECT_EQ(queue.finish_time(1'000'000), 0) << "large, and nobody is there to wait for";
  queue.num_waiting_tokens = 101;
  EXPECT_DOUBLE_EQ(queue.drain_time(), 101'000);
}

TEST(QueueEstimateTest, AShortRequestWaitsForAShareOfTheOthers) {
  const QueueEstimate queue{
      .num_waiting_tokens = 10'000, .num_requests = 20, .step_tokens = 100, .tokens_per_s = 1'000};
  EXPECT_DOUBLE_EQ(queue.drain_time(), 10);
  EXPECT_DOUBLE_EQ(queue.wait_time(5), 0.1);
  EXPECT_DOUBLE_EQ(queue.wait_time(50'000), 10);
  EXPECT_DOUBLE_EQ(queue.finish_time(5), 0.105);
  EXPECT_DOUBLE_EQ(queue.finish_time(500), 10.5);
  EXPECT_DOUBLE_EQ(queue.finish_time(50'000), 60) << "for all that waits, and itself";
}

}  // namespace
}  // namespace millrace
