// Which GPU serves, with which kernels, and what is said where none can; on GPUs that are made up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "build/builder.h"
#include "runtime/loaded_model.h"
#include "support/errors.h"
#include "support/source_dir.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

using testing::HasSubstr;

class GpuChoiceTest : public testing::Test {
 protected:
  GpuChoiceTest() {
    ::setenv("MILLRACE_CUDA_BACKEND", (test::program_dir() / "libfake_cuda_backend.so").c_str(), 1);
  }
  ~GpuChoiceTest() override {
    ::unsetenv("MILLRACE_CUDA_BACKEND");
    ::unsetenv("MILLRACE_FAKE_GPUS");
  }

  void machine_has(const char* gpus) { ::setenv("MILLRACE_FAKE_GPUS", gpus, 1); }

  // An engine whose kernels are all there in name, for these architectures.
  std::filesystem::path engine(const std::vector<cuda::Arch>& archs,
                               const std::string& digest = "fake sources", size_t left_out = 0) {
    BuildConfig config;
    config.source.repo = "tests/golden/bert_mean";
    const auto path = temp_.path() / "engine";
    build_engine(config, path, pool_, {});
    const Engine built = Engine::open(path, pool_);
    const ModelConfig model = ModelConfig::from_hf(built.files.config_texts, path.string());
    const CheckpointSource source(built.files.weights, built.files.naming);
    std::vector<cuda::KernelArchive> archives;
    for (const cuda::Arch arch : archs) {
      const Target target = cuda_target(arch, ComputeDType::kAuto, model.dtype);
      const ModelPlan plan =
          plan_model(model, step_limits(model, built.files.build), source, target);
      cuda::KernelArchive& archive =
          archives.emplace_back(cuda::KernelArchive{.arch = arch, .sources_digest = digest});
      for (const cuda::KernelInstance& instance : plan.kernels())
        archive.kernels.push_back({.name = instance.name(), .cubin = "code"});
      archive.kernels.resize(archive.kernels.size() - left_out);
    }
    add_kernels(built, archives, pool_);
    return path;
  }

  Error refusal(const std::filesystem::path& path, std::optional<Device> device = {}) {
    LoadOptions options;
    options.device = device;
    return test::error_of([&] { LoadedModel::open(path, options); });
  }

  static constexpr Device kFirst{.kind = DeviceKind::kCuda, .index = 0};
  static constexpr Device kSecond{.kind = DeviceKind::kCuda, .index = 1};

  test::TempDir temp_;
  ThreadPool pool_{2};
};

TEST_F(GpuChoiceTest, AutoPassesOverGpusThatAreTooOld) {
  machine_has("NVIDIA T4:75");
  const auto model = LoadedModel::open("tests/golden/bert_mean", {});
  EXPECT_FALSE(model->gpu);
  machine_has("NVIDIA T4:75,NVIDIA A100:80");
  EXPECT_THAT(refusal("tests/golden/bert_mean").message(),
              HasSubstr("reached cuda:1 with kernels for sm_80"));
}

TEST_F(GpuChoiceTest, AGpuThatIsAskedForIsTakenOrRefused) {
  machine_has("NVIDIA T4:75");
  const Error old = refusal("tests/golden/bert_mean", kFirst);
  EXPECT_THAT(old.message(), HasSubstr("NVIDIA T4 has compute capability 7.5"));
  EXPECT_THAT(old.hint(), HasSubstr("--device cpu"));
  const Error absent = refusal("tests/golden/bert_mean", kSecond);
  EXPECT_THAT(absent.message(), HasSubstr("cuda:1 was asked for"));
  EXPECT_THAT(absent.hint(), HasSubstr("cuda:0 to cuda:0"));
}

TEST_F(GpuChoiceTest, AnEngineServesWithItsClosestKernels) {
  machine_has("NVIDIA L4:89");
  EXPECT_THAT(refusal(engine({{80}})).message(), HasSubstr("kernels for sm_80"));
  EXPECT_THAT(refusal(engine({{80}, {89}, {90, true}})).message(), HasSubstr("kernels for sm_89"));
  machine_has("NVIDIA H100:90");
  EXPECT_THAT(refusal(engine({{80}, {90}, {90, true}})).message(), HasSubstr("kernels for sm_90a"));
}

TEST_F(GpuChoiceTest, AnEngineWithoutKernelsForTheGpuSaysHowToAddThem) {
  machine_has("NVIDIA H100:90");
  const auto path = engine({{80}, {100, true}});
  for (const std::optional<Device>& device : {std::optional<Device>(), std::optional(kFirst)}) {
    const Error error = refusal(path, device);
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.message(), HasSubstr("has no kernels for NVIDIA H100 (sm_90a)"));
    EXPECT_THAT(error.hint(), HasSubstr("millrace build --add-target sm_90a " + path.string()));
  }
  LoadOptions on_cpu;
  on_cpu.device = Device{};
  EXPECT_FALSE(LoadedModel::open(path, on_cpu)->gpu);
}

TEST_F(GpuChoiceTest, KernelsOfOtherSourcesAreNotLaunched) {
  machine_has("NVIDIA H100:90");
  const Error error = refusal(engine({{90, true}}, "other sources"));
  EXPECT_THAT(error.message(), HasSubstr("made by another version of millrace"));
  EXPECT_THAT(error.hint(), HasSubstr("--add-target sm_90a"));
}

TEST_F(GpuChoiceTest, AMissingKernelIsNamed) {
  machine_has("NVIDIA H100:90");
  const Error error = refusal(engine({{90, true}}, "fake sources", 1));
  EXPECT_THAT(error.message(), HasSubstr("has no kernel smxx_"));
  EXPECT_THAT(error.hint(), HasSubstr("--dtype"));
}

}  // namespace
}  // namespace millrace
