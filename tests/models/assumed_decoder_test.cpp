// Decoders of names that nobody has told us: run as a Llama with a warning, or refused with all
// that does not fit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/model_files.h"
#include "models/plan.h"
#include "support/errors.h"
#include "support/made_weights.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

using test::error_of;
using test::MadeWeights;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::filesystem::path kDecoders = test::source_dir() / "tests" / "golden" / "decoders";
constexpr StepLimits kLimits{.max_num_tokens = 64, .max_num_sequences = 8, .max_seq_len = 128};

// The weights of a fixture with one tensor more or less.
class ChangedWeights : public WeightSource {
 public:
  ChangedWeights(const MadeWeights& weights, std::string added, std::string removed)
      : weights_(weights), added_(std::move(added)), removed_(std::move(removed)) {}

  std::optional<Tensor> find(const std::string& name, const Shape& expected) const override {
    return name == removed_ ? std::nullopt : weights_.find(name, expected);
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> names = weights_.names();
    std::erase(names, removed_);
    if (!added_.empty()) names.push_back(added_);
    return names;
  }
  WeightNaming naming() const override { return weights_.naming(); }

 private:
  const MadeWeights& weights_;
  std::string added_, removed_;
};

ModelConfig config_of(const std::string& name) {
  return ModelConfig::from_hf(read_config_texts(kDecoders / name), name);
}

TEST(AssumedDecoderTest, AFittingOneIsWarnedOf) {
  const MadeWeights weights(kDecoders / "unknown");
  const ModelPlan plan = plan_model(config_of("unknown"), kLimits, weights, {});
  EXPECT_THAT(plan.warnings, ElementsAre(AllOf(HasSubstr("SomethingNewForCausalLM is not known"),
                                               HasSubstr("compare its answers"))));
  EXPECT_THAT(
      plan_model(config_of("qwen3"), kLimits, MadeWeights(kDecoders / "qwen3"), {}).warnings,
      IsEmpty());
}

TEST(AssumedDecoderTest, OneThatDoesNotFitIsRefusedWithBothLists) {
  const MadeWeights weights(kDecoders / "unknown");
  const ChangedWeights changed(weights, "model.layers.0.self_attn.gate.weight",
                               "model.layers.1.mlp.up_proj.weight");
  ModelConfig config = config_of("unknown");
  config.decoder->unknown_keys = {"moon_phase"};
  const Error error = error_of([&] { plan_model(config, kLimits, changed, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("1 keys of config.json"), HasSubstr("moon_phase"),
                                  HasSubstr("unexpected: model.layers.0.self_attn.gate.weight"),
                                  HasSubstr("missing: model.layers.1.mlp.up_proj.weight")));
  EXPECT_THAT(error_of([&] { require_supported(config); }).what(), HasSubstr("moon_phase"));
  config.architecture = "Qwen3ForCausalLM";  // what is known may say more than is read
  require_supported(config);
}

TEST(AssumedDecoderTest, NothingButDecodersIsAssumed) {
  ModelConfig config = config_of("unknown");
  config.architecture = "SomethingNewModel";
  EXPECT_THAT(error_of([&] { plan_model(config, kLimits, PlanSource(DType::kF32), {}); }).what(),
              HasSubstr("architecture SomethingNewModel is not supported"));
}

TEST(DecoderPlanTest, SaysWhatATokenKeepsAndWhatAGpuLaunches) {
  const ModelConfig config = config_of("gemma2");
  const PlanSource source(DType::kF32);
  const ModelPlan plan = plan_model(config, kLimits, source, {});
  EXPECT_EQ(plan.kv_cache.groups.size(), 2u);
  EXPECT_EQ(plan.kv_cache.bytes_per_token(0, DType::kF32), 2 * 2 * 3 * 12 * 4);
  EXPECT_EQ(plan.kv_cache.bytes_per_token(DType::kF32), 2 * 2 * 2 * 3 * 12 * 4);
  EXPECT_EQ(plan.profiles.front().num_tokens(), 64);
  const Target gpu = cuda_target(cuda::Arch{90, true}, ComputeDType::kAuto, DType::kF32);
  const ModelPlan on_gpu = plan_model(config, kLimits, source, gpu);
  EXPECT_GT(on_gpu.activation_bytes(), plan.activation_bytes()) << "sums of split keys";
  std::vector<std::string> names;
  for (const cuda::KernelInstance& kernel : on_gpu.kernels()) names.push_back(kernel.name());
  EXPECT_THAT(names, testing::IsSupersetOf({"smxx_paged_attention<bf16, 32, 1>",
                                            "smxx_paged_attention<bf16, 32, 4>",
                                            "smxx_rope_write<bf16>", "smxx_copy_blocks"}));
}

}  // namespace
}  // namespace millrace
