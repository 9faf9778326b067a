// Blocks from bytes: shares of groups, caps, and the refusal with its figures.
#include "runtime/kv_cache_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kPlannedBlockSize = 32;

// 4 layers that see all, 2 that see a window: 8 KiB and 4 KiB a token.
KvCacheSpec mixed_spec() {
  KvCacheSpec spec{.groups = {{}, {.window = 64}}};
  for (size_t i = 0; i < 6; ++i)
    spec.layers.push_back({.group = i < 4 ? 0u : 1u, .num_kv_heads = 4, .head_dim = 64});
  return spec;
}

DecodeLimits limits() {
  return {.max_num_tokens = 128, .max_batch_size = 8, .max_seq_len = 1024};
}

KvCacheBudget budget(int64_t bytes, int64_t host_bytes = 0) {
  return {.bytes = bytes, .host_bytes = host_bytes, .origin = "a test", .remedy = "raise it"};
}

constexpr int64_t kFullBlock = kPlannedBlockSize * 4 * 2 * 4 * 64 * 4;    // bytes in F32
constexpr int64_t kWindowBlock = kPlannedBlockSize * 2 * 2 * 4 * 64 * 4;  // likewise
constexpr int64_t kWindowBlocks = 7;  // 128 tokens of a step and 63 before, wherever they begin
constexpr int64_t kSequence = 32 * kFullBlock + kWindowBlocks * kWindowBlock;

TEST(KvCachePlan, GroupsShareAsASequenceWould) {
  const KvCachePlan plan =
      plan_kv_cache(mixed_spec(), DType::kF32, kPlannedBlockSize, limits(), budget(4 * kSequence));
  EXPECT_THAT(plan.size.num_blocks, ElementsAre(4 * 32, 4 * kWindowBlocks));
  EXPECT_EQ(plan.bytes, 4 * kSequence);
  EXPECT_TRUE(plan.size.num_host_blocks.empty());
  const BlockManagerConfig blocks = plan.blocks(mixed_spec());
  EXPECT_EQ(blocks.groups[1].window, 64);
  EXPECT_EQ(blocks.groups[0].num_blocks, 128);
}

TEST(KvCachePlan, HalfTheBytesOfAValueHoldTwice) {
  EXPECT_THAT(
      plan_kv_cache(mixed_spec(), DType::kBF16, kPlannedBlockSize, limits(), budget(2 * kSequence))
          .size.num_blocks,
      ElementsAre(4 * 32, 4 * kWindowBlocks));
}

TEST(KvCachePlan, NoMoreThanAllSequencesCanUse) {
  const KvCachePlan plan = plan_kv_cache(mixed_spec(), DType::kF32, kPlannedBlockSize, limits(),
                                         budget(1000 * kSequence));
  EXPECT_THAT(plan.size.num_blocks, ElementsAre(8 * 32, 8 * kWindowBlocks));
}

TEST(KvCachePlan, HostBlocksShareTheirBytesAlike) {
  const KvCachePlan plan = plan_kv_cache(mixed_spec(), DType::kF32, kPlannedBlockSize, limits(),
                                         budget(kSequence, 3 * kSequence));
  EXPECT_THAT(plan.size.num_host_blocks, ElementsAre(3 * 32, 3 * kWindowBlocks));
  EXPECT_EQ(plan.host_bytes, 3 * kSequence);
}

TEST(KvCachePlan, WhatDoesNotHoldOneSequenceSaysWhatWould) {
  try {
    plan_kv_cache(mixed_spec(), DType::kF32, kPlannedBlockSize, limits(),
                  budget(16 * kFullBlock + kWindowBlocks * kWindowBlock));
    FAIL() << "half a sequence is not enough";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.message(), HasSubstr("max_seq_len = 1024"));
    EXPECT_THAT(error.message(), HasSubstr("a test"));
    EXPECT_THAT(error.hint(), HasSubstr("at most 512, or raise it"));
  }
  EXPECT_NO_THROW(
      plan_kv_cache(mixed_spec(), DType::kF32, kPlannedBlockSize, limits(), budget(kSequence)));
}

// What the scheduler promises to accept must fit the blocks that the plan gives.
TEST(KvCachePlan, TheLongestRequestIsAccepted) {
  for (const int64_t depth : {1, 2}) {
    for (const auto policy :
         {BatchSchedulerPolicy::kGuaranteedNoEvict, BatchSchedulerPolicy::kMaxUtilization}) {
      DecodeLimits at = limits();
      at.max_steps_in_flight = depth;
      at.policy = policy;
      int64_t least = 1;
      KvCachePlan plan;
      while (true) {  // the least budget that is not refused
        try {
          plan = plan_kv_cache(mixed_spec(), DType::kF32, kPlannedBlockSize, at, budget(least));
          break;
        } catch (const Error&) {
          least += kWindowBlock;
        }
      }
      BlockManager blocks(plan.blocks(mixed_spec()));
      const DecodeScheduler scheduler(at, blocks);
      DecodeRequest request;
      request.prompt.assign(static_cast<size_t>(at.max_seq_len) - 1, 7);
      EXPECT_NO_THROW(scheduler.check(request)) << depth;
      request.prompt.resize(1);
      request.max_new_tokens = at.max_seq_len;
      EXPECT_NO_THROW(scheduler.check(request)) << depth;
    }
  }
}

}  // namespace
}  // namespace millrace
