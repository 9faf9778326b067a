// Engines with compiled kernels: built without a GPU, to the same bytes, and extended later.
#include "build/builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class BuilderTest : public testing::Test {
 protected:
  BuilderTest() { ::setenv("MILLRACE_CACHE_DIR", (temp_ / "cache").c_str(), 1); }
  ~BuilderTest() override { ::unsetenv("MILLRACE_CACHE_DIR"); }

  fs::path build(const std::string& name, std::vector<std::string> targets) {
    BuildConfig config;
    config.source.repo = "tests/golden/bert_mean";
    config.targets = std::move(targets);
    return build_engine(config, temp_.path() / name, pool_, {}).engine;
  }

  test::TempDir temp_;
  ThreadPool pool_{2};
};

std::map<std::string, std::string> bytes_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), directory).string()] = read_file(entry.path().string());
  }
  return files;
}

TEST_F(BuilderTest, AnEngineCarriesTheKernelsOfItsTargets) {
  const fs::path engine = build("engine", {"sm_90a", "cpu", "sm_80"});
  EXPECT_THAT(Engine::open(engine, pool_).manifest.targets, ElementsAre("cpu", "sm_80", "sm_90a"));
  const cuda::KernelArchive archive = read_kernel_archive(engine / kernel_archive_name({90, true}));
  EXPECT_EQ(archive.arch, (cuda::Arch{90, true}));
  EXPECT_THAT(archive.compiler, HasSubstr("nvrtc"));
  std::vector<std::string> names;
  for (const cuda::KernelBinary& kernel : archive.kernels) names.push_back(kernel.name);
  // hidden size 72, heads of 12, mean pooling, a checkpoint in F32
  EXPECT_THAT(names, UnorderedElementsAre(
                         "smxx_embed<bf16, 1, 1>", "smxx_add_layer_norm<bf16, 1, 1>",
                         "smxx_attention<bf16, 32>", "smxx_pool<bf16>",
                         "smxx_convert_rows<float, bf16>", "smxx_convert_rows<bf16, float>"));
}

TEST_F(BuilderTest, TwoBuildsGiveTheSameBytes) {
  const auto first = bytes_of(build("one", {"sm_80"}));
  fs::remove_all(temp_.path() / "cache");
  EXPECT_EQ(bytes_of(build("two", {"sm_80"})), first);
}

TEST_F(BuilderTest, TargetsAddedLaterGiveTheEngineThatWasBuiltWithThem) {
  const auto whole = bytes_of(build("whole", {"sm_80", "sm_90a"}));
  const fs::path engine = build("engine", {"cpu"});
  add_targets(engine, {"sm_90a"}, pool_, {});
  add_targets(engine, {"sm_80", "sm_90a"}, pool_, {});
  EXPECT_EQ(bytes_of(engine), whole);
}

TEST_F(BuilderTest, RefusesWhatIsNoTargetBeforeAnythingIsWritten) {
  const Error error = test::error_of([&] { build("engine", {"sm_75"}); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.message(), HasSubstr("sm_75"));
  EXPECT_THAT(error.hint(), HasSubstr("sm_80"));
  EXPECT_FALSE(fs::exists(temp_.path() / "engine"));
  const fs::path engine = build("cpu_only", {"cpu"});
  const auto before = bytes_of(engine);
  EXPECT_THROW(add_targets(engine, {"sm_80", "volta"}, pool_, {}), Error);
  EXPECT_EQ(bytes_of(engine), before);
}

TEST_F(BuilderTest, AlteredAndMissingKernelsAreRefused) {
  const fs::path engine = build("engine", {"sm_80"});
  const fs::path file = engine / kernel_archive_name({80});
  std::string bytes = read_file(file.string());
  bytes[bytes.size() / 2] ^= 1;
  write_file(file.string(), bytes);
  EXPECT_THROW(Engine::open(engine, pool_), Error);
  fs::remove(file);
  EXPECT_THROW(Engine::open(engine, pool_), Error);
}

TEST_F(BuilderTest, AnArchiveOfAnotherFormIsRefused) {
  const fs::path file = temp_.path() / "other.safetensors";
  write_safetensors(file.string(), {}, {{"format", "pt"}});
  EXPECT_THROW(read_kernel_archive(file), Error);
}

}  // namespace
}  // namespace millrace
