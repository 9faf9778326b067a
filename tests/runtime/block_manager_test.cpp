// The block manager by trace: sharing, eviction, copies, windows, host memory, promises.
#include "runtime/block_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Tokens = std::vector<int32_t>;

Tokens tokens_from(int32_t first, int64_t count) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

BlockManagerConfig one_group(int64_t num_blocks, int64_t window = 0, int64_t num_host_blocks = 0) {
  return {.groups = {{.block_size = 4,
                      .num_blocks = num_blocks,
                      .num_host_blocks = num_host_blocks,
                      .window = window}},
          .seed = 1};
}

Admission wanting(const Tokens& prompt, int64_t max_num_tokens, bool promised = false) {
  return {.prompt = prompt, .max_num_tokens = max_num_tokens, .promised = promised};
}

class Player {
 public:
  explicit Player(const BlockManagerConfig& config) : blocks(config) {}
  ~Player() { blocks.check_integrity(); }

  // All of the prompt in one step.
  SequenceId prefill(const Tokens& prompt, const PrefixScope& scope = {}) {
    Admission admission = wanting(prompt, static_cast<int64_t>(prompt.size()));
    admission.scope = scope;
    const std::optional<SequenceId> id = blocks.add(admission);
    EXPECT_TRUE(id) << "no room for " << prompt.size() << " tokens";
    grow(*id, prompt);
    return *id;
  }

  // One step up to the last of `tokens`.
  void grow(SequenceId id, const Tokens& tokens) {
    ASSERT_TRUE(blocks.extend(id, static_cast<int64_t>(tokens.size()) - blocks.num_tokens(id)));
    blocks.check_integrity();
    blocks.commit(id, tokens);
    blocks.check_integrity();
  }

  int64_t hits(const Tokens& prompt, const PrefixScope& scope = {}) {
    Admission admission = wanting(prompt, static_cast<int64_t>(prompt.size()));
    admission.scope = scope;
    const std::optional<SequenceId> id = blocks.add(admission);
    if (!id) return -1;
    const int64_t num_tokens = blocks.num_committed(*id);
    blocks.release(*id);
    blocks.check_integrity();
    return num_tokens;
  }

  std::vector<BlockId> table(SequenceId id, size_t group = 0) {
    const auto table = blocks.block_table(id, group);
    return {table.begin(), table.end()};
  }

  BlockManager blocks;
};

TEST(BlockManager, BlocksAreTakenAsTokensNeedThem) {
  Player player(one_group(4));
  const SequenceId id = player.prefill(tokens_from(1, 3));
  EXPECT_THAT(player.table(id), ElementsAre(0));
  player.grow(id, tokens_from(1, 4));
  EXPECT_THAT(player.table(id), ElementsAre(0));
  player.grow(id, tokens_from(1, 5));
  EXPECT_THAT(player.table(id), ElementsAre(0, 1));
  EXPECT_EQ(player.blocks.num_available(0), 2);
  EXPECT_FALSE(player.blocks.extend(id, 12));
  EXPECT_EQ(player.blocks.num_tokens(id), 5) << "a failed extend changes nothing";
  EXPECT_TRUE(player.blocks.extend(id, 11));
  EXPECT_EQ(player.blocks.num_available(0), 0);
}

TEST(BlockManager, ACommittedPrefixIsShared) {
  Player player(one_group(8));
  const Tokens prompt = tokens_from(1, 10);
  const SequenceId first = player.prefill(prompt);
  const SequenceId second = player.prefill(prompt);
  EXPECT_THAT(player.table(first), ElementsAre(0, 1, 2));
  EXPECT_THAT(player.table(second), ElementsAre(0, 1, 3));
  EXPECT_EQ(player.blocks.stats().num_hit_tokens, 8u);
  EXPECT_EQ(player.blocks.stats().num_queried_tokens, 20u);
  player.blocks.release(first);
  player.blocks.release(second);
  EXPECT_EQ(player.blocks.num_available(0), 8);
  EXPECT_EQ(player.blocks.group_stats(0).num_cached, 2);
  EXPECT_EQ(player.hits(prompt), 8);
}

TEST(BlockManager, WhatIsNotComputedYetIsNotShared) {
  Player player(one_group(8));
  const Tokens prompt = tokens_from(1, 12);
  const SequenceId id = *player.blocks.add(wanting(prompt, 12));
  ASSERT_TRUE(player.blocks.extend(id, 8));
  EXPECT_EQ(player.hits(prompt), 0);
  player.blocks.commit(id, tokens_from(1, 8));
  EXPECT_EQ(player.hits(prompt), 8);
}

TEST(BlockManager, AHitLeavesATokenToCompute) {
  Player player(one_group(8));
  player.prefill(tokens_from(1, 8));
  EXPECT_EQ(player.hits(tokens_from(1, 8)), 4);
  EXPECT_EQ(player.hits(tokens_from(1, 9)), 8);
  EXPECT_EQ(player.hits(tokens_from(1, 1)), 0);
}

TEST(BlockManager, OtherTenantsAdaptersAndPromptsShareNothing) {
  Player player(one_group(16));
  player.prefill(tokens_from(1, 12), {.tenant = "a"});
  EXPECT_EQ(player.hits(tokens_from(1, 12), {.tenant = "a"}), 8);
  EXPECT_EQ(player.hits(tokens_from(1, 12), {.tenant = "b"}), 0);
  EXPECT_EQ(player.hits(tokens_from(1, 12), {.tenant = "a", .adapter = "x"}), 0);
  EXPECT_EQ(player.hits(tokens_from(1, 12), {.adapter = "a"}), 0);
  Tokens other = tokens_from(1, 12);
  other[0] = 99;  // the second block is the same, behind another first one
  EXPECT_EQ(player.hits(other, {.tenant = "a"}), 0);
}

TEST(BlockManager, CollidingHashesAreToldApartByTheirTokens) {
  BlockManagerConfig config = one_group(16);
  config.hash = [](uint64_t, uint64_t, std::span<const int32_t>) { return uint64_t{7}; };
  Player player(config);
  player.prefill(tokens_from(1, 12));
  player.prefill(tokens_from(50, 12));
  EXPECT_EQ(player.hits(tokens_from(1, 12)), 8);
  EXPECT_EQ(player.hits(tokens_from(50, 12)), 8);
  EXPECT_EQ(player.hits(tokens_from(9, 12)), 0);
  Tokens crossed = tokens_from(50, 4);
  const Tokens rest = tokens_from(5, 5);
  crossed.insert(crossed.end(), rest.begin(), rest.end());
  EXPECT_EQ(player.hits(crossed), 4) << "tokens 5..8 are known behind 1..4 only";
}

TEST(BlockManager, TheHashDependsOnSeedPrefixAndEachToken) {
  const Tokens tokens = tokens_from(1, 16);
  const uint64_t hash = hash_tokens(1, 2, tokens);
  EXPECT_NE(hash, hash_tokens(3, 2, tokens));
  EXPECT_NE(hash, hash_tokens(1, 3, tokens));
  for (size_t i = 0; i < tokens.size(); ++i) {
    Tokens changed = tokens;
    changed[i] ^= 1;
    EXPECT_NE(hash, hash_tokens(1, 2, changed));
  }
}

TEST(BlockManager, TheOldestCachedBlocksMakeRoomTheLastOfThemFirst) {
  Player player(one_group(6));
  player.blocks.release(player.prefill(tokens_from(1, 12)));
  player.blocks.release(player.prefill(tokens_from(50, 8)));
  EXPECT_EQ(player.blocks.group_stats(0).num_cached, 5);
  const SequenceId id = player.prefill(tokens_from(80, 12));  // the free one and two cached ones
  EXPECT_EQ(player.blocks.group_stats(0).num_evicted, 2u);
  EXPECT_EQ(player.hits(tokens_from(1, 13)), -1) << "a miss that does not fit";
  player.blocks.release(id);
  EXPECT_EQ(player.hits(tokens_from(1, 13)), 4) << "the beginning stayed";
  EXPECT_EQ(player.hits(tokens_from(50, 9)), 8);
}

TEST(BlockManager, AHitMakesABlockYoungAgain) {
  Player player(one_group(4));
  player.blocks.release(player.prefill(tokens_from(1, 4)));
  player.blocks.release(player.prefill(tokens_from(50, 4)));
  EXPECT_EQ(player.hits(tokens_from(1, 5)), 4);
  player.blocks.release(player.prefill(tokens_from(80, 12)));
  EXPECT_EQ(player.hits(tokens_from(1, 5)), 4);
  EXPECT_EQ(player.hits(tokens_from(50, 5)), 0);
}

TEST(BlockManager, ForksShareAndCopyTheBlockThatIsNotFull) {
  Player player(one_group(8));
  const Tokens prompt = tokens_from(1, 6);
  const SequenceId first = player.prefill(prompt);
  const SequenceId second = player.blocks.fork(first);
  const SequenceId third = player.blocks.fork(first);
  player.blocks.check_integrity();
  EXPECT_THAT(player.table(third), ElementsAre(0, 1));
  EXPECT_THAT(player.blocks.take_copies(), IsEmpty());
  ASSERT_TRUE(player.blocks.extend(first, 1));
  ASSERT_TRUE(player.blocks.extend(second, 1));
  ASSERT_TRUE(player.blocks.extend(third, 1));
  EXPECT_THAT(player.table(first), ElementsAre(0, 2));
  EXPECT_THAT(player.table(second), ElementsAre(0, 3));
  EXPECT_THAT(player.table(third), ElementsAre(0, 1)) << "the last one keeps the original";
  EXPECT_THAT(player.blocks.take_copies(),
              ElementsAre(KvCopy{.from = 1, .to = 2}, KvCopy{.from = 1, .to = 3}));
  EXPECT_THAT(player.blocks.take_copies(), IsEmpty());
}

TEST(BlockManager, ForksOfWholeBlocksNeedNoCopy) {
  Player player(one_group(8));
  const SequenceId first = player.prefill(tokens_from(1, 8));
  const SequenceId second = player.blocks.fork(first);
  player.blocks.extend(first, 1);
  player.blocks.extend(second, 1);
  EXPECT_THAT(player.table(first), ElementsAre(0, 1, 2));
  EXPECT_THAT(player.table(second), ElementsAre(0, 1, 3));
  EXPECT_THAT(player.blocks.take_copies(), IsEmpty());
}

TEST(BlockManager, WhatWasGuessedWronglyIsTakenBack) {
  Player player(one_group(8));
  const SequenceId id = player.prefill(tokens_from(1, 7));
  ASSERT_TRUE(player.blocks.extend(id, 6));
  EXPECT_EQ(player.table(id).size(), 4u);
  player.blocks.truncate(id, 8);
  player.blocks.check_integrity();
  EXPECT_EQ(player.table(id).size(), 2u);
  EXPECT_EQ(player.blocks.num_available(0), 6);
  player.blocks.commit(id, tokens_from(1, 8));
  EXPECT_EQ(player.hits(tokens_from(1, 9)), 8);
  EXPECT_THROW(player.blocks.truncate(id, 7), InternalError);
}

// --- windows -------------------------------------------------------------------------------------

TEST(BlockManager, AWindowGivesBackWhatHasLeftIt) {
  Player player(one_group(8, 6));
  const SequenceId id = player.prefill(tokens_from(1, 8));
  EXPECT_THAT(player.table(id), ElementsAre(0, 1)) << "token 8 attends to 3..8";
  player.grow(id, tokens_from(1, 9));
  EXPECT_THAT(player.table(id), ElementsAre(kNoBlock, 1, 2)) << "token 9 attends to 4..9";
  player.grow(id, tokens_from(1, 12));
  EXPECT_THAT(player.table(id), ElementsAre(kNoBlock, 1, 2));
  player.grow(id, tokens_from(1, 13));
  EXPECT_THAT(player.table(id), ElementsAre(kNoBlock, kNoBlock, 2, 3));
  EXPECT_EQ(player.blocks.group_stats(0).num_cached, 2) << "what left stays known";
}

TEST(BlockManager, AWindowNeedsTheLastBlocksOfAPrefixOnly) {
  Player player(one_group(7, 6));
  const SequenceId id = player.prefill(tokens_from(1, 16));
  player.blocks.release(id);
  // Blocks 0 and 1 left the window first, and make room first.
  const SequenceId other = player.prefill(tokens_from(50, 17));
  EXPECT_EQ(player.blocks.group_stats(0).num_evicted, 2u);
  player.blocks.release(other);
  const SequenceId again = player.prefill(tokens_from(1, 17));
  EXPECT_EQ(player.blocks.stats().num_hit_tokens, 16u);
  EXPECT_EQ(player.table(again)[1], kNoBlock);
}

TEST(BlockManager, AHitIsWhatEveryGroupCanContinue) {
  BlockManagerConfig config;
  config.groups = {{.block_size = 4, .num_blocks = 32},
                   {.block_size = 2, .num_blocks = 9, .window = 4}};
  Player player(config);
  player.blocks.release(player.prefill(tokens_from(1, 14)));
  EXPECT_EQ(player.hits(tokens_from(1, 15)), 12) << "whole blocks of both groups";
  // The window's blocks of the first prompt make room; the last ones of the full group stay.
  player.blocks.release(player.prefill(tokens_from(50, 15)));
  EXPECT_EQ(player.hits(tokens_from(1, 15)), 0);
  EXPECT_EQ(player.hits(tokens_from(50, 16)), 12);
}

// --- host memory ---------------------------------------------------------------------------------

TEST(BlockManager, EvictedBlocksGoToHostMemoryAndComeBack) {
  Player player(one_group(3, 0, 4));
  player.blocks.release(player.prefill(tokens_from(1, 12)));
  player.blocks.release(player.prefill(tokens_from(50, 8)));
  using enum KvCopy::Kind;
  EXPECT_THAT(player.blocks.take_copies(),
              ElementsAre(KvCopy{.kind = kToHost, .from = 2, .to = 0},
                          KvCopy{.kind = kToHost, .from = 1, .to = 1}));
  const SequenceId id = player.prefill(tokens_from(1, 12));
  EXPECT_EQ(player.blocks.stats().num_hit_tokens, 8u);
  EXPECT_THAT(player.table(id), ElementsAre(0, 1, 2));
  EXPECT_THAT(player.blocks.take_copies(),
              ElementsAre(KvCopy{.kind = kToHost, .from = 1, .to = 2},
                          KvCopy{.kind = kFromHost, .from = 1, .to = 1},
                          KvCopy{.kind = kToHost, .from = 2, .to = 3}));
}

TEST(BlockManager, WhatLiesInHostMemoryAlreadyIsNotWrittenAgain) {
  Player player(one_group(2, 0, 4));
  player.blocks.release(player.prefill(tokens_from(1, 8)));
  player.blocks.release(player.prefill(tokens_from(50, 8)));
  player.blocks.release(player.prefill(tokens_from(1, 8)));
  player.blocks.take_copies();
  player.blocks.release(player.prefill(tokens_from(80, 8)));
  for (const KvCopy& copy : player.blocks.take_copies()) ADD_FAILURE() << copy.from;
}

// --- promises ------------------------------------------------------------------------------------

TEST(BlockManager, APromiseKeepsOthersOut) {
  Player player(one_group(8));
  const Tokens prompt = tokens_from(1, 5);
  const SequenceId first = *player.blocks.add(wanting(prompt, 20, true));  // 5 blocks
  EXPECT_FALSE(player.blocks.add(wanting(tokens_from(50, 2), 13, true)));
  const SequenceId second = *player.blocks.add(wanting(tokens_from(50, 2), 12, true));
  EXPECT_TRUE(player.blocks.extend(first, 20));
  EXPECT_TRUE(player.blocks.extend(second, 12));
  player.blocks.check_integrity();
  EXPECT_THROW(player.blocks.extend(second, 1), InternalError);
}

TEST(BlockManager, WhatIsSharedNeedNotBePromised) {
  Player player(one_group(6));
  const Tokens prompt = tokens_from(1, 13);
  const SequenceId first = *player.blocks.add(wanting(prompt, 16, true));
  ASSERT_TRUE(player.blocks.extend(first, 13));
  player.blocks.commit(first, prompt);
  const SequenceId second = *player.blocks.add(wanting(prompt, 16, true));
  const SequenceId third = *player.blocks.add(wanting(prompt, 16, true));
  EXPECT_FALSE(player.blocks.add(wanting(prompt, 16, true)));
  for (const SequenceId id : {second, third}) EXPECT_TRUE(player.blocks.extend(id, 4));
  player.blocks.release(first);
  for (const SequenceId id : {second, third})
    player.blocks.check_integrity(), player.blocks.release(id);
}

TEST(BlockManager, ForksArePromisedWithTheirPrompt) {
  Admission admission;
  const Tokens prompt = tokens_from(1, 6);
  admission = wanting(prompt, 12, true);
  admission.num_sequences = 3;  // one shared block; two more and a copy for each: 1 + 3 * 2 + 1
  EXPECT_FALSE(Player(one_group(7)).blocks.add(admission));
  EXPECT_FALSE(Player(one_group(7)).blocks.can_ever_fit(admission));
  Player player(one_group(8));
  EXPECT_TRUE(player.blocks.can_ever_fit(admission));
  const SequenceId first = *player.blocks.add(admission);
  player.grow(first, prompt);
  const SequenceId second = player.blocks.fork(first);
  const SequenceId third = player.blocks.fork(first);
  player.blocks.check_integrity();
  EXPECT_FALSE(player.blocks.add(wanting(tokens_from(50, 2), 5, true)));
  for (const SequenceId id : {first, second, third}) EXPECT_TRUE(player.blocks.extend(id, 6));
  player.blocks.check_integrity();
}

TEST(BlockManager, AWindowIsPromisedWhatItHoldsAtOnce) {
  Player player(one_group(7, 6));
  Admission admission = wanting(tokens_from(1, 1), 1000, true);
  admission.max_step_tokens = 8;  // 13 tokens touch at most 4 blocks
  const Tokens prompt = tokens_from(1, 40);
  admission.prompt = prompt;
  const SequenceId id = *player.blocks.add(admission);
  EXPECT_FALSE(player.blocks.add(admission));
  for (int64_t end = 8; end <= 40; end += 8) player.grow(id, tokens_from(1, end));
  player.blocks.limit_step(id, 1);  // 6 tokens: 3 blocks
  EXPECT_TRUE(player.blocks.add(admission));
  for (int64_t end = 41; end <= 60; ++end) player.grow(id, tokens_from(1, end));
}

}  // namespace
}  // namespace millrace
