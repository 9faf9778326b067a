// Tiles of paged attention: every row once, with the keys that it sees, in parts of even size.
#include "ops/paged_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "support/rounds.h"

namespace millrace {
namespace {

constexpr cuda::Arch kArch{90, true};

Batch batch_of(const std::vector<SequenceLength>& sequences) {
  return decoder_batch(sequences, 1, 32);
}

std::vector<PagedLaunch> launches(int64_t head_dim, int64_t num_heads, int64_t num_kv_heads,
                                  int64_t window, bool deterministic = false) {
  return paged_launches(
      {.type = DType::kBF16,
       .heads = {.num_heads = num_heads, .num_kv_heads = num_kv_heads, .head_dim = head_dim},
       .window = window},
      kArch, deterministic);
}

std::vector<SequenceLength> random_sequences(std::mt19937& random) {
  std::vector<SequenceLength> sequences(1 + random() % 40);
  for (SequenceLength& sequence : sequences) {
    const int64_t most[] = {1, 1, 8, 300};
    sequence.rows = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(most[random() % 4]));
    const int64_t past[] = {1, 100, 5000, 40000};
    sequence.keys =
        sequence.rows + static_cast<int64_t>(random() % static_cast<uint64_t>(past[random() % 4]));
  }
  return sequences;
}

// Each packed row of each sequence is covered by parts that begin where the row's first key lies,
// or before, and end behind its last, without a gap.
void expect_covered(const Batch& batch, const std::vector<PagedLaunch>& all, int64_t group,
                    int64_t window) {
  std::map<std::pair<int, int>, std::vector<cuda::PagedTile>> by_rows;  // token, row_begin
  std::map<int, int> next_row;
  for (const PagedLaunch& launch : all) {
    std::vector<int> slots;
    for (const cuda::PagedTile& tile : paged_tiles(batch, launch.list)) {
      ASSERT_LT(tile.row_begin, tile.row_end);
      ASSERT_LE(tile.row_end - tile.row_begin, launch.kernel.tile_rows);
      ASSERT_EQ(tile.key_begin % launch.kernel.key_step, 0);
      ASSERT_LT(tile.key_begin, tile.key_end);
      by_rows[{tile.token, tile.row_begin}].push_back(tile);
      if (tile.num_splits > 1) slots.push_back(tile.partial + tile.split);
    }
    std::ranges::sort(slots);
    EXPECT_EQ(std::ranges::adjacent_find(slots), slots.end()) << "two parts in one slot";
    if (!slots.empty()) {
      EXPECT_LT(slots.back(), max_paged_slots(launch.list));
    }
  }
  for (auto& [place, parts] : by_rows) {
    std::ranges::sort(parts, {}, &cuda::PagedTile::split);
    const cuda::PagedTile& first = parts.front();
    ASSERT_EQ(static_cast<int>(parts.size()), first.num_splits);
    ASSERT_EQ(next_row[first.token], first.row_begin);
    next_row[first.token] = first.row_end;
    for (size_t i = 1; i < parts.size(); ++i) ASSERT_EQ(parts[i].key_begin, parts[i - 1].key_end);
    const int64_t first_position = first.position + first.row_begin / group;
    const int64_t last_position = first.position + (first.row_end - 1) / group;
    EXPECT_LE(first.key_begin, window > 0 ? std::max<int64_t>(0, first_position - window + 1) : 0);
    EXPECT_EQ(parts.back().key_end, last_position + 1);
  }
  for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
    const int rows = batch.cu_seqlens[s + 1] - batch.cu_seqlens[s];
    if (rows > 0) {
      ASSERT_EQ(next_row[batch.cu_seqlens[s]], rows * group) << "sequence " << s;
    }
  }
}

TEST(PagedTiles, CoverEveryRowWithTheKeysThatItSees) {
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < test::rounds(300); ++round) {
    Batch batch = batch_of(random_sequences(random));
    if (round % 3 == 0) batch.pad(batch.num_tokens() + 5, batch.num_sequences() + 3);
    for (const auto& [heads, kv_heads] :
         std::vector<std::pair<int64_t, int64_t>>{{32, 8}, {8, 8}, {71, 1}}) {
      for (const int64_t window : {0, 100}) {
        for (const int64_t head_dim : {64, 256}) {
          for (const bool deterministic : {false, true})
            expect_covered(batch, launches(head_dim, heads, kv_heads, window, deterministic),
                           heads / kv_heads, window);
        }
      }
    }
  }
}

TEST(PagedTiles, FitIntoTheGridOfTheirSize) {
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 2000; ++round) {
    const Batch batch = batch_of(random_sequences(random));
    const StepSize size = recorded_size({batch.num_tokens(), batch.num_sequences()},
                                        {.num_tokens = 1 << 20, .num_sequences = 64});
    for (const PagedLaunch& launch : launches(128, 32, 8, 0))
      ASSERT_LE(static_cast<int64_t>(paged_tiles(batch, launch.list).size()),
                max_paged_tiles(size, launch.list));
  }
}

TEST(PagedTiles, FillAGpuWithPartsOfEvenSize) {
  const PagedLaunch few = launches(128, 32, 8, 0).back();
  ASSERT_EQ(few.list.rows, PagedTileList::Rows::kFew);
  // One sequence of 32k keys: a part for every block that the GPU has room for.
  const auto single = paged_tiles(batch_of({{.rows = 1, .keys = 32768}}), few.list);
  EXPECT_GE(single.size() * 8, 240u);
  EXPECT_LE(single.size() * 8, 270u);
  // Many sequences of one length need no parts.
  const std::vector<SequenceLength> even(64, {.rows = 1, .keys = 1024});
  EXPECT_EQ(paged_tiles(batch_of(even), few.list).size(), 64u);
  // One long sequence among many short ones is cut to the size of the rest.
  std::vector<SequenceLength> uneven(32, {.rows = 1, .keys = 512});
  uneven.push_back({.rows = 1, .keys = 65536});
  const auto tiles = paged_tiles(batch_of(uneven), few.list);
  const auto longest = std::ranges::max(
      tiles, {}, [](const cuda::PagedTile& tile) { return tile.key_end - tile.key_begin; });
  EXPECT_LE(longest.key_end - longest.key_begin, 2560);
}

TEST(PagedTiles, AreNeverSplitWhereBitsMustNotDependOnTheStep) {
  const std::vector<PagedLaunch> all = launches(128, 32, 8, 0, true);
  ASSERT_EQ(all.size(), 1u);
  const auto tiles = paged_tiles(batch_of({{.rows = 1, .keys = 32768}, {.rows = 40, .keys = 90}}),
                                 all.front().list);
  EXPECT_EQ(tiles.size(), 4u);  // 160 packed rows are three tiles
  for (const cuda::PagedTile& tile : tiles) EXPECT_EQ(tile.num_splits, 1);
  EXPECT_EQ(max_paged_slots(all.front().list), 0);
}

TEST(RecordedDecoderSize, IsOfStepsWithFewRowsPerSequence) {
  const StepSize most{.num_tokens = 512, .num_sequences = 256, .num_logits_rows = 256};
  const std::vector<SequenceLength> decode(17, {.rows = 1, .keys = 1000});
  EXPECT_EQ(recorded_decoder_size(batch_of(decode), most),
            (StepSize{.num_tokens = 24, .num_sequences = 24, .num_logits_rows = 24}));
  std::vector<SequenceLength> mixed = decode;
  mixed.push_back({.rows = kFewRows + 1, .keys = 100});
  EXPECT_EQ(recorded_decoder_size(batch_of(mixed), most), std::nullopt);
  // All rows of tokens that are verified want logits.
  Batch verify = batch_of(std::vector<SequenceLength>(10, {.rows = 5, .keys = 100}));
  verify.logits_rows.resize(50);
  EXPECT_EQ(recorded_decoder_size(verify, most),
            (StepSize{.num_tokens = 56, .num_sequences = 16, .num_logits_rows = 56}));
}

}  // namespace
}  // namespace millrace
