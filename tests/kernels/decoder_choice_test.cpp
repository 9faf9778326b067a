// The choice of the kernels of decoders' rows and of the sampler is total over what models may
// have.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "kernels/cuda/decoder_row_args.h"
#include "kernels/cuda/decoder_row_choice.h"
#include "kernels/cuda/sampling_choice.h"

namespace millrace::cuda {
namespace {

constexpr DType kDecoderTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

bool is_listed(const KernelLaunch& launch, DType type) {
  const std::vector<KernelInstance> all = all_kernels(type, {90, true});
  return std::ranges::find(all, launch.instance) != all.end();
}

TEST(DecoderRowChoice, RowsOfEveryWidthHaveANormThatHoldsThem) {
  for (const DType type : kDecoderTypes) {
    const std::vector<KernelInstance> all = decoder_row_kernels(type);
    for (int64_t width = 1; width <= kMaxRmsWidth; ++width) {
      const KernelLaunch launch = rms_norm_kernel(type, 1000, width);
      const std::string name = launch.instance.name();
      int vectors = 0;
      int warps = 0;
      ASSERT_EQ(std::sscanf(name.substr(name.find(',')).c_str(), ", %d, %d>", &vectors, &warps), 2)
          << name;
      ASSERT_GE(vectors * warps * 32 * (16 / size_of(type)), width) << name;
      ASSERT_LE(vectors * (16 / size_of(type)), 32) << name << ": too many registers";
      const int rows_per_block = warps == 1 ? 4 : 1;
      ASSERT_EQ(launch.threads, 32 * warps * rows_per_block) << name;
      ASSERT_GE(launch.grid_x * rows_per_block, 1000) << name;
      ASSERT_NE(std::ranges::find(all, launch.instance), all.end()) << name;
    }
    EXPECT_LE(all.size(), 20u) << "each of them is compiled";
    EXPECT_THROW(rms_norm_kernel(type, 1, kMaxRmsWidth + 1), InternalError);
    EXPECT_THROW(rms_norm_kernel(type, 1, 0), InternalError);
  }
}

TEST(DecoderRowChoice, GridsCoverRowsAndColumns) {
  for (const DType type : kDecoderTypes) {
    const int64_t elements = 16 / size_of(type);
    for (const int64_t width : {1, 7, 8, 255, 256, 257, 4096, 14336, 151936}) {
      for (const int64_t rows : {1, 3, 65535, 1'000'000}) {
        const KernelLaunch launch = act_and_mul_kernel(type, Function::kSilu, rows, width);
        EXPECT_GE(launch.grid_x * launch.threads * elements, width) << to_string(launch);
        EXPECT_LT((launch.grid_x - 1) * launch.threads * elements, width) << to_string(launch);
        EXPECT_EQ(launch.grid_y, std::min<int64_t>(rows, 65535)) << to_string(launch);
        EXPECT_EQ(launch.threads % 32, 0);
        EXPECT_LE(launch.threads, 256);
        EXPECT_TRUE(is_listed(launch, type) || rows > 1);
      }
    }
    EXPECT_EQ(gather_rows_kernel(type, 0, 64).grid_x, 0) << "no rows: nothing is launched";
  }
}

TEST(DecoderRowChoice, RopeTakesAThreadForEachPair) {
  EXPECT_EQ(rope_angles_kernel(7, 64).threads, 64);
  EXPECT_EQ(rope_angles_kernel(7, 20).threads, 32);
  EXPECT_EQ(rope_angles_kernel(7, kMaxRopePairs).threads, kMaxRopePairs);
  EXPECT_THROW(rope_angles_kernel(1, kMaxRopePairs + 1), InternalError);
}

TEST(SamplingChoice, EveryVocabularyFitsIntoSharedMemory) {
  constexpr int64_t kSharedOfKernel = 13 * 1024 + 512;      // its histogram, and small things
  constexpr int64_t kSharedBytesOfSmallestGpu = 99 * 1024;  // of a block, on sm_86, sm_89, sm_120
  for (int64_t vocab = 1; vocab <= kMaxSampledVocab; vocab += 255) {
    const KernelLaunch launch = sample_kernel(3, vocab);
    EXPECT_EQ(launch.grid_x, 3);
    EXPECT_LE(launch.shared_bytes + kSharedOfKernel, kSharedBytesOfSmallestGpu);
    const int64_t capacity = sample_list_capacity(vocab);
    const int64_t chunks = (vocab + 255) / 256;
    EXPECT_GE(capacity, 1024) << vocab;
    EXPECT_EQ(capacity % 256, 0) << vocab;
    EXPECT_LE(8 * capacity + 2 * chunks * 32 + (chunks + 3) / 4 * 16, launch.shared_bytes) << vocab;
    EXPECT_GE(greedy_kernel(3, vocab).grid_x * 8192, vocab);
  }
  EXPECT_EQ(sample_list_capacity(128256), 4096) << "all that is ever asked for";
  EXPECT_THROW(sample_kernel(1, kMaxSampledVocab + 1), InternalError);
  EXPECT_TRUE(is_listed(sample_kernel(1, 1000), DType::kBF16));
  EXPECT_TRUE(is_listed(greedy_kernel(1, 1000), DType::kF32));
}

}  // namespace
}  // namespace millrace::cuda
