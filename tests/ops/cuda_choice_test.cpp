// What is launched on which rows.
#include "ops/cuda_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace millrace {
namespace {

std::vector<Batch> batches() {
  std::vector<Batch> all;
  for (const std::vector<int64_t>& lengths : std::vector<std::vector<int64_t>>{
           {1}, {64}, {65}, {5, 5, 5}, {1, 7, 64, 2, 33, 129, 1, 300}, {63, 1, 1, 64, 512}}) {
    all.push_back(Batch::of_lengths(lengths));
  }
  all.push_back(Batch::of_lengths(std::vector<int64_t>(1000, 5)));
  return all;
}

TEST(AttentionTiles, CoverEveryRowOnceWithTheKeysOfItsSequence) {
  for (const Batch& batch : batches()) {
    for (const int tile_rows : {16, 64, 128}) {
      for (const bool pack : {false, true}) {
        std::vector<int> covered(static_cast<size_t>(batch.num_tokens()), 0);
        for (const cuda::AttentionTile& tile : attention_tiles(batch, tile_rows, pack)) {
          ASSERT_LT(tile.row_begin, tile.row_end);
          ASSERT_LE(tile.row_end - tile.row_begin, tile_rows);
          for (int row = tile.row_begin; row < tile.row_end; ++row)
            ++covered[static_cast<size_t>(row)];
          // Keys are whole sequences; without packing exactly one.
          const auto& cu = batch.cu_seqlens;
          const auto first = std::ranges::find(cu, tile.kv_begin);
          const auto last = std::ranges::find(cu, tile.kv_end);
          ASSERT_TRUE(first != cu.end() && last != cu.end() && first < last);
          ASSERT_GE(tile.row_begin, tile.kv_begin);
          ASSERT_LE(tile.row_end, tile.kv_end);
          if (!pack) {
            ASSERT_EQ(last - first, 1);
          }
        }
        EXPECT_TRUE(std::ranges::all_of(covered, [](int count) { return count == 1; }));
      }
    }
  }
}

// Random batches, and among them those that packing likes least.
TEST(AttentionTiles, FitIntoTheListOfARecordedStep) {
  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < 2000; ++i) {
    std::vector<int64_t> lengths(1 + random() % 60);
    const int64_t longest[] = {2, 40, 100, 300};
    for (int64_t& length : lengths)
      length = 1 + static_cast<int64_t>(random() % static_cast<uint32_t>(longest[random() % 4]));
    Batch batch = Batch::of_lengths(lengths);
    const StepSize step = {batch.num_tokens(), batch.num_sequences()};
    const StepSize size = recorded_size(step, {.num_tokens = 1 << 20, .num_sequences = 64});
    const auto before = attention_tiles(batch, 64, true).size();
    batch.pad(size.num_tokens, size.num_sequences);
    ASSERT_EQ(attention_tiles(batch, 64, true).size(), before) << "padding has no tiles";
    for (const int tile_rows : {16, 64, 128}) {
      for (const bool pack : {false, true}) {
        const auto count = static_cast<int64_t>(attention_tiles(batch, tile_rows, pack).size());
        ASSERT_LE(count, max_attention_tiles(step, tile_rows, pack)) << to_string(batch);
        ASSERT_LE(count, max_attention_tiles(size, tile_rows, pack)) << to_string(batch);
      }
    }
  }
}

TEST(RecordedSize, HoldsTheStepAndIsLittleLarger) {
  const StepSize most = {.num_tokens = kMaxRecordedTokens, .num_sequences = 100};
  std::set<int64_t> sizes;
  for (int64_t tokens = 1; tokens <= kMaxRecordedTokens; ++tokens) {
    const StepSize size = recorded_size({tokens, std::min<int64_t>(tokens, 100)}, most);
    ASSERT_GE(size.num_tokens, tokens);
    ASSERT_LE(size.num_tokens - tokens, std::max<int64_t>(7, tokens / 8));
    ASSERT_EQ(recorded_size(size, most), size);
    sizes.insert(size.num_tokens);
  }
  EXPECT_LE(sizes.size(), 50u);
  EXPECT_EQ(recorded_size({2047, 65}, most), most);
  EXPECT_EQ(recorded_size({9, 3}, {.num_tokens = 10, .num_sequences = 3}),
            (StepSize{.num_tokens = 10, .num_sequences = 3}));
}

TEST(AttentionTiles, ShortSequencesShareATile) {
  const Batch batch = Batch::of_lengths(std::vector<int64_t>(1000, 5));
  EXPECT_EQ(attention_tiles(batch, 64, true).size(), 84u);  // twelve in each
  EXPECT_EQ(attention_tiles(batch, 64, false).size(), 1000u);
}

TEST(ActivationBehindProduct, IsAKernelWhereTheProductHasNone) {
  using F = ActivationFunction;
  EXPECT_EQ(activation_kernel(F::kNone, DType::kF32, 5), std::nullopt);
  EXPECT_EQ(activation_kernel(F::kGelu, DType::kBF16, 5), std::nullopt);
  EXPECT_EQ(activation_kernel(F::kGeluTanh, DType::kF16, 5), std::nullopt);
  EXPECT_EQ(activation_kernel(F::kGelu, DType::kF16, 5)->instance.name(), "smxx_activate<fp16, 1>");
  EXPECT_EQ(activation_kernel(F::kGelu, DType::kF32, 5)->instance.name(),
            "smxx_activate<float, 1>");
  EXPECT_EQ(activation_kernel(F::kTanh, DType::kF16, 5)->instance.name(), "smxx_activate<fp16, 5>");
}

}  // namespace
}  // namespace millrace
