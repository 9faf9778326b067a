// The shipped decoder, whole: its checkpoint and an engine built from it answer one prompt as
// transformers does.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "build/builder.h"
#include "support/paged_decoder.h"
#include "support/source_dir.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

const fs::path kDemoModel = test::source_dir() / "examples" / "demo-model";

struct Expected {
  Expected()
      : file(Checkpoint::from_file(
            (test::source_dir() / "tests/golden/decoders/demo_model/expected.safetensors")
                .string())),
        ids(file.find("token_ids")->as<const int32_t>()),
        prompt_length(static_cast<size_t>(file.find("prompt_length")->as<const int32_t>()[0])),
        rows(file.find("logit_rows")->as<const int32_t>()) {}

  Checkpoint file;
  std::span<const int32_t> ids;
  size_t prompt_length;
  std::span<const int32_t> rows;
};

// The logits of all rows, the prompt in two chunks and then token by token.
std::vector<std::vector<float>> logits_of(const ModelFiles& files, const Expected& expected) {
  const ModelConfig config = ModelConfig::from_hf(files.config_texts, files.path.string());
  const CheckpointSource source(files.weights, files.naming);
  const StepLimits limits{.max_num_tokens = 256, .max_num_sequences = 256, .max_seq_len = 512};
  test::PagedDecoder decoder(config, limits, source,
                             {.isa = cpu::best_isa(cpu_features()), .block_size = 32});
  std::vector<std::vector<float>> logits;
  for (size_t i = 0; i < expected.ids.size();) {
    const size_t rows = i == 0                       ? expected.prompt_length / 2
                        : i < expected.prompt_length ? expected.prompt_length - i
                                                     : 1;
    const auto ids = expected.ids.subspan(i, rows);
    for (auto& row : decoder.step({{0, {ids.begin(), ids.end()}}})) logits.push_back(row);
    i += rows;
  }
  return logits;
}

TEST(DemoModelTest, CheckpointAndEngineAnswerAsTransformersDoes) {
  const Expected expected;
  const auto logits = logits_of(open_hf_directory(kDemoModel), expected);
  for (size_t i = expected.prompt_length - 1; i + 1 < expected.ids.size(); ++i) {
    EXPECT_EQ(std::ranges::max_element(logits[i]) - logits[i].begin(), expected.ids[i + 1])
        << "after row " << i;
  }
  for (size_t i = 0; i < expected.rows.size(); ++i) {
    const auto want = expected.file.find("logits")
                          ->slice_rows(static_cast<int64_t>(i), static_cast<int64_t>(i) + 1)
                          .as<const float>();
    const std::vector<float>& row = logits[static_cast<size_t>(expected.rows[i])];
    double difference = 0, norm = 0;
    for (size_t j = 0; j < row.size(); ++j) {
      difference += std::pow(static_cast<double>(row[j]) - want[j], 2);
      norm += std::pow(static_cast<double>(want[j]), 2);
    }
    EXPECT_LE(std::sqrt(difference / norm), 1e-4) << "row " << expected.rows[i];
  }

  test::TempDir temp;
  ThreadPool pool(2);
  BuildConfig build;
  build.source.repo = kDemoModel.string();
  const BuildResult result = build_engine(build, temp.path() / "engine", pool, {});
  const Engine engine = Engine::open(result.engine, pool);
  EXPECT_EQ(engine.files.naming, WeightNaming::kCanonical);
  EXPECT_TRUE(engine.files.config_texts.contains("generation_config.json"));
  EXPECT_EQ(logits_of(engine.files, expected), logits);
}

}  // namespace
}  // namespace millrace
