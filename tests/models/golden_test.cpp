// Each model against the outputs of transformers and sentence-transformers in tests/golden.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "checkpoint/model_files.h"
#include "models/plan.h"
#include "models/registry.h"
#include "ops/cpu/cpu_ops.h"
#include "support/rounds.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

// The greatest ||out - ref|| / ||ref|| over rows.
double worst_relative_error(const Tensor& out, const Tensor& expected) {
  EXPECT_EQ(out.shape, expected.shape);
  const auto a = out.as<const float>();
  const auto b = expected.as<const float>();
  const auto width = static_cast<size_t>(out.columns());
  double worst = 0;
  for (size_t row = 0; row < static_cast<size_t>(out.rows()); ++row) {
    double difference = 0;
    double norm = 0;
    for (size_t i = row * width; i < (row + 1) * width; ++i) {
      difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
      norm += std::pow(static_cast<double>(b[i]), 2);
    }
    worst = std::max(worst, std::isfinite(difference) ? std::sqrt(difference / norm) : INFINITY);
  }
  return worst;
}

// A model of tests/golden, or MiniLM, on the CPU.
struct Golden {
  Golden(const fs::path& model, const fs::path& expected_file, cpu::Isa isa, ComputeDType dtype)
      : files(open_hf_directory(model)),
        config(ModelConfig::from_hf(files.config_texts, model.string())),
        expected(Checkpoint::from_file(expected_file.string())),
        source(files.weights, files.naming),
        pool(2) {
    const Precision precision = choose_precision(dtype, config.dtype, DeviceKind::kCpu);
    const ModelPlan plan =
        plan_model(config, step_limits(config, files.build), source, {.precision = precision});
    ops = std::make_unique<CpuOps>(pool, isa, precision, plan.activation_bytes());
    ParameterList list;
    network = find_model(config.architecture).make(Params(source, *ops, list), config);
  }

  // All sequences of the fixture in steps of at most 4096 tokens; `check` sees each step.
  template <typename Check>
  void run(const Check& check) {
    const auto ids = expected.find("token_ids")->as<const int32_t>();
    const auto cu_seqlens = expected.find("cu_seqlens")->as<const int32_t>();
    const Tensor* types = expected.find("token_type_ids");
    const std::vector<int32_t> zeros(ids.size(), 0);
    const std::span<const int32_t> type_ids = types ? types->as<const int32_t>() : std::span(zeros);
    for (size_t first = 0; first + 1 < cu_seqlens.size();) {
      Batch batch;
      size_t last = first;
      while (last + 1 < cu_seqlens.size() && cu_seqlens[last + 1] - cu_seqlens[first] <= 4096) {
        const auto begin = static_cast<size_t>(cu_seqlens[last]);
        const auto length = static_cast<size_t>(cu_seqlens[last + 1]) - begin;
        batch.append(ids.subspan(begin, length), type_ids.subspan(begin, length));
        ++last;
      }
      ops->arena().reset();
      check(network->forward(*ops, batch), first, last, cu_seqlens[first], cu_seqlens[last]);
      first = last;
    }
  }

  ModelFiles files;
  ModelConfig config;
  Checkpoint expected;
  CheckpointSource source;
  ThreadPool pool;
  std::unique_ptr<CpuOps> ops;
  std::unique_ptr<Model> network;
};

std::vector<cpu::Isa> isas() {
  return cpu::supported_isas(cpu_features());
}

class GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, AgreesWithTransformersOnEveryInstructionSet) {
  const fs::path directory = fs::path("tests/golden") / GetParam();
  for (const cpu::Isa isa : isas()) {
    SCOPED_TRACE(to_string(isa));
    Golden golden(directory, directory / "expected.safetensors", isa, ComputeDType::kF32);
    double worst = 0;
    golden.run([&](const Output& output, size_t first, size_t last, int64_t row_begin,
                   int64_t row_end) {
      const auto rows = [&](const char* name, int64_t begin, int64_t end) {
        return golden.expected.find(name)->slice_rows(begin, end);
      };
      worst =
          std::max(worst, worst_relative_error(output.hidden, rows("hidden", row_begin, row_end)));
      const bool classifier = golden.config.is_classifier();
      const Tensor& out = classifier ? *output.logits : *output.vectors;
      const Tensor want = rows(classifier ? "logits" : "pooled", static_cast<int64_t>(first),
                               static_cast<int64_t>(last));
      worst = std::max(worst, worst_relative_error(out, want));
    });
    EXPECT_LE(worst, 1e-4);
    RecordProperty(std::string(to_string(isa)), std::to_string(worst));
  }
}

INSTANTIATE_TEST_SUITE_P(Bert, GoldenTest,
                         testing::Values("bert_mean", "bert_cls", "bert_bf16", "bert_rerank",
                                         "bert_classify"));

// MiniLM's weights come with a Python package; CI always has them.
TEST(MiniLmTest, AgreesWithSentenceTransformers) {
  const char* directory = std::getenv("MILLRACE_MINILM_DIR");
  if (!directory || !fs::exists(directory)) {
    ASSERT_EQ(std::getenv("CI"), nullptr) << "MILLRACE_MINILM_DIR must name the model in CI";
    GTEST_SKIP() << "MILLRACE_MINILM_DIR does not name the model";
  }
  const std::vector<cpu::Isa> all = isas();
  for (const cpu::Isa isa : all) {
    if (isa == cpu::Isa::kPortable) continue;  // the same code as above, for minutes
    if (test::kSanitized && isa != all.back()) continue;
    SCOPED_TRACE(to_string(isa));
    Golden golden(directory, "tests/golden/minilm/expected.safetensors", isa, ComputeDType::kF32);
    double worst = 0;
    golden.run([&](const Output& output, size_t first, size_t last, int64_t, int64_t) {
      const Tensor want = golden.expected.find("embeddings")
                              ->slice_rows(static_cast<int64_t>(first), static_cast<int64_t>(last));
      worst = std::max(worst, worst_relative_error(*output.vectors, want));
    });
    EXPECT_LE(worst, 1e-4);
    std::cout << "[          ] " << to_string(isa) << ": worst relative error " << worst << "\n";
  }
}

}  // namespace
}  // namespace millrace
