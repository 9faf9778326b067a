// The CUDA library without a GPU: every kernel compiles for every architecture, without spills, to
// the same bytes each time.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "kernels/cuda/kernel_choice.h"
#include "ops/cuda_backend.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

// A cache of the test's own.
class CudaLibraryTest : public testing::Test {
 protected:
  CudaLibraryTest() { ::setenv("MILLRACE_CACHE_DIR", cache_.path().c_str(), 1); }
  ~CudaLibraryTest() override { ::unsetenv("MILLRACE_CACHE_DIR"); }

  test::TempDir cache_;
};

// Through the user's cache, which goes by the kernels' text: minutes the first time, then a second.
TEST(CudaKernelsTest, EveryKernelCompilesWithoutSpills) {
  CudaBackend& backend = load_cuda_backend();
  for (const cuda::Arch arch : {cuda::Arch{80}, cuda::Arch{90, true}}) {
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const cuda::KernelInstance& instance : cuda::all_kernels(type, arch)) {
        const cuda::CompiledKernel kernel = backend.compile(instance, arch);
        EXPECT_EQ(kernel.resources.spill_bytes, 0) << instance.name() << " " << to_string(arch);
        EXPECT_EQ(kernel.resources.stack_bytes, 0) << instance.name() << " " << to_string(arch);
        EXPECT_GT(kernel.resources.registers, 0);
        EXPECT_EQ(kernel.binary.cubin.substr(1, 3), "ELF");
      }
    }
  }
}

TEST_F(CudaLibraryTest, ADamagedEntryOfTheCacheIsMadeAgainToTheSameBytes) {
  CudaBackend& backend = load_cuda_backend();
  const cuda::KernelInstance instance = cuda::pool_kernel(DType::kBF16, 1, 1).instance;
  const auto compile = [&] { return backend.compile(instance, {86}).binary.cubin; };
  const std::string first = compile();
  std::vector<fs::path> kept;
  for (const auto& file : fs::recursive_directory_iterator(cache_.path()))
    if (file.is_regular_file()) kept.push_back(file.path());
  ASSERT_EQ(kept.size(), 1u);
  const std::string entry = read_file(kept.front().string());
  EXPECT_TRUE(entry.ends_with(first));
  for (const std::string& damaged :
       {std::string(), std::string("{\n"), entry.substr(0, entry.size() - 1), entry + "x",
        std::string("no JSON\n") + first}) {
    write_file(kept.front().string(), damaged);
    EXPECT_EQ(compile(), first);
    EXPECT_EQ(read_file(kept.front().string()), entry);
  }
}

TEST_F(CudaLibraryTest, NamesItsCompilerAndItsSources) {
  CudaBackend& backend = load_cuda_backend();
  EXPECT_TRUE(backend.compiler().starts_with("nvrtc 13.")) << backend.compiler();
  EXPECT_EQ(backend.kernel_sources_digest().size(), 64u);
}

}  // namespace
}  // namespace millrace
