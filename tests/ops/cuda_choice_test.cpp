// What is launched on which rows.
#include "ops/cuda_choice.h"

#include <gtest/gtest.h>

#include <algorithm>

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
