// The choice of kernels is total over the sizes that models may have, and says what it launches.
#include "kernels/cuda/kernel_choice.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "kernels/cuda/paged_attention_choice.h"

namespace millrace::cuda {
namespace {

constexpr Arch kArchs[] = {{80}, {89}, {90, true}, {100, true}, {120, true}};
constexpr DType kTypes[] = {DType::kF32, DType::kF16, DType::kBF16};

TEST(KernelChoice, RowsOfEveryWidthHaveAKernelThatHoldsThem) {
  for (const DType type : kTypes) {
    for (int64_t width = 1; width <= kMaxNormWidth; ++width) {
      const KernelLaunch launch = add_layer_norm_kernel(type, 1000, width);
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
    }
    EXPECT_THROW(add_layer_norm_kernel(type, 1, kMaxNormWidth + 1), InternalError);
    EXPECT_THROW(embed_kernel(type, 1, 0), InternalError);
  }
}

TEST(KernelChoice, HeadsOfEverySizeHaveAKernelOnEveryArchitecture) {
  constexpr int kSharedBytesOfSmallestGpu = 99 * 1024;  // of a block, on sm_86, sm_89 and sm_120
  for (const Arch arch : kArchs) {
    for (const DType type : kTypes) {
      for (int64_t head_dim = 1; head_dim <= kMaxHeadDim; ++head_dim) {
        const AttentionKernel kernel = attention_kernel(type, head_dim, 3 * head_dim * 12, arch);
        EXPECT_GE(kernel.tile_rows, 16);
        EXPECT_FALSE(kernel.packs && type == DType::kF16) << "infinities of fp16 would spread";
        if (!arch.specific || arch.version == 120) {
          EXPECT_LE(kernel.shared_bytes, kSharedBytesOfSmallestGpu) << kernel.instance.name();
        }
      }
      EXPECT_THROW(attention_kernel(type, kMaxHeadDim + 1, 4096, arch), InternalError);
    }
  }
}

TEST(KernelChoice, PagedHeadsOfEverySizeHaveAKernelOnEveryArchitecture) {
  constexpr int kSharedBytesOfSmallestGpu = 99 * 1024;
  for (const Arch arch : kArchs) {
    for (const DType type : kTypes) {
      const std::vector<KernelInstance> all = all_paged_kernels(type, arch);
      for (int64_t head_dim = 1; head_dim <= kMaxPagedHeadDim; ++head_dim) {
        const PagedAttentionKernels kernels =
            paged_attention_kernels(type, head_dim, head_dim % 3 == 0, arch);
        for (const PagedAttentionKernel& kernel : {kernels.few, kernels.many}) {
          const std::string name = kernel.instance.name();
          EXPECT_NE(std::ranges::find(all, kernel.instance), all.end()) << name;
          EXPECT_GE(kernel.head_dim, head_dim);
          EXPECT_EQ(kernel.tile_rows % 16, 0);
          EXPECT_EQ(kernel.key_step % 16, 0);
          if (!arch.specific || arch.version == 120) {
            EXPECT_LE(kernel.shared_bytes, kSharedBytesOfSmallestGpu) << name;
          }
        }
        EXPECT_LE(kernels.few.tile_rows, kernels.many.tile_rows);
        EXPECT_EQ(kernels.few.key_step, kernels.many.key_step);
      }
      EXPECT_LE(all.size(), 16u);
      EXPECT_THROW(paged_attention_kernels(type, kMaxPagedHeadDim + 1, false, arch), InternalError);
    }
  }
}

TEST(KernelChoice, HopperHasAttentionOfItsOwnForRowsThatFit) {
  const auto name = [](DType type, int64_t head_dim, int64_t row_stride, Arch arch) {
    return attention_kernel(type, head_dim, row_stride, arch).instance.name();
  };
  EXPECT_EQ(name(DType::kBF16, 64, 2304, {90, true}), "sm90_attention<bf16, 64>");
  EXPECT_EQ(name(DType::kBF16, 64, 2304, {90}), "smxx_attention<bf16, 64>");
  EXPECT_EQ(name(DType::kBF16, 64, 2304, {100, true}), "smxx_attention<bf16, 64>");
  EXPECT_EQ(name(DType::kBF16, 64, 2309, {90, true}), "smxx_attention<bf16, 64>");
  EXPECT_EQ(name(DType::kF16, 56, 2304, {90, true}), "smxx_attention<fp16, 64>");
  EXPECT_EQ(name(DType::kF32, 64, 2304, {90, true}), "smxx_attention_fp32<64>");
}

TEST(KernelChoice, TheSameModelNeedsTheSameInstancesWhateverTheStep) {
  for (const DType type : kTypes) {
    for (const int64_t width : {72, 384, 768, 1024, 4096}) {
      for (const int64_t rows : {1, 5, 4096, 1'000'000}) {
        EXPECT_EQ(embed_kernel(type, rows, width).instance, embed_kernel(type, 1, width).instance);
        EXPECT_EQ(pool_kernel(type, rows, width).instance, pool_kernel(type, 1, 1).instance);
        EXPECT_EQ(convert_kernel(type, DType::kF32, rows, width).instance,
                  convert_kernel(type, DType::kF32, 1, 1).instance);
      }
    }
  }
}

TEST(KernelChoice, NamesAreCppNames) {
  EXPECT_EQ(attention_kernel(DType::kBF16, 60, 2160, {80}).instance.name(),
            "smxx_attention<bf16, 64>");
  EXPECT_EQ(convert_kernel(DType::kF16, DType::kF32, 1, 1).instance.name(),
            "smxx_convert_rows<fp16, float>");
  EXPECT_EQ(normalize_kernel(3).instance.name(), "smxx_normalize_rows");
  EXPECT_EQ(to_string(pool_kernel(DType::kBF16, 32, 384)),
            "smxx_pool<bf16> grid 32x2, 256 threads, 0 shared bytes");
}

TEST(KernelChoice, GridsCoverWhatIsAsked) {
  EXPECT_EQ(pool_kernel(DType::kF32, 7, 129).grid_y, 2);
  EXPECT_EQ(pool_kernel(DType::kF32, 7, 128).grid_y, 1);
  EXPECT_EQ(activate_kernel(DType::kF32, Function::kTanh, 1'000'000).grid_x, 65535);
  EXPECT_EQ(convert_kernel(DType::kF32, DType::kBF16, 1, 1).grid_x, 1);
}

TEST(Archs, NamesAndWhatRunsWhere) {
  EXPECT_EQ(arch_from_name("sm_90a"), (Arch{90, true}));
  EXPECT_EQ(to_string(Arch{100, true}), "sm_100a");
  EXPECT_EQ(arch_from_name("sm_75"), std::nullopt);
  EXPECT_EQ(arch_from_name("sm_90b"), std::nullopt);
  EXPECT_EQ(native_arch(90), (Arch{90, true}));
  EXPECT_EQ(native_arch(89), (Arch{89}));
  EXPECT_TRUE(runs_on({80}, 89));
  EXPECT_TRUE(runs_on({80}, 80));
  EXPECT_FALSE(runs_on({89}, 86));
  EXPECT_FALSE(runs_on({80}, 90));
  EXPECT_TRUE(runs_on({90, true}, 90));
  EXPECT_FALSE(runs_on({100, true}, 103));
}

}  // namespace
}  // namespace millrace::cuda
