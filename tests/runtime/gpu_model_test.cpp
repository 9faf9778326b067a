// Models on a GPU, loaded as the server loads them, against transformers and against themselves.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <iostream>
#include <random>

#include "runtime/loaded_model.h"
#include "support/test_device.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

struct Expected {
  explicit Expected(const fs::path& file)
      : checkpoint(Checkpoint::from_file(file.string())),
        ids(numbers("token_ids")),
        cu_seqlens(numbers("cu_seqlens")),
        type_ids(checkpoint.find("token_type_ids") ? numbers("token_type_ids")
                                                   : std::vector<int32_t>(ids.size(), 0)) {
    for (const char* name : {"logits", "pooled", "embeddings"}) {
      if (const Tensor* found = checkpoint.find(name)) rows = *found;
    }
  }

  std::vector<int32_t> numbers(const std::string& name) const {
    const auto values = checkpoint.find(name)->as<const int32_t>();
    return {values.begin(), values.end()};
  }

  int64_t num_sequences() const { return static_cast<int64_t>(cu_seqlens.size()) - 1; }

  Batch batch(int64_t first, int64_t last) const {
    Batch out;
    for (int64_t i = first; i < last; ++i) {
      const auto begin = static_cast<size_t>(cu_seqlens[static_cast<size_t>(i)]);
      const auto end = static_cast<size_t>(cu_seqlens[static_cast<size_t>(i) + 1]);
      out.append(std::span(ids).subspan(begin, end - begin),
                 std::span(type_ids).subspan(begin, end - begin));
    }
    return out;
  }

  Checkpoint checkpoint;
  std::vector<int32_t> ids;
  std::vector<int32_t> cu_seqlens;
  std::vector<int32_t> type_ids;
  Tensor rows;  // [num_sequences, width]
};

// As many sequences from `first` on as a step may hold.
int64_t end_of_step(const Expected& expected, const StepLimits& limits, int64_t first) {
  int64_t last = first;
  while (last < expected.num_sequences() && last - first < limits.max_num_sequences &&
         expected.cu_seqlens[static_cast<size_t>(last) + 1] -
                 expected.cu_seqlens[static_cast<size_t>(first)] <=
             limits.max_num_tokens)
    ++last;
  return last;
}

std::unique_ptr<LoadedModel> load(const fs::path& directory, ComputeDType dtype,
                                  bool deterministic = false, bool enforce_eager = false) {
  LoadOptions options;
  options.device = Device{.kind = DeviceKind::kCuda};
  options.dtype = dtype;
  options.deterministic = deterministic;
  options.enforce_eager = enforce_eager;
  return LoadedModel::open(directory, options);
}

struct GoldenCase {
  std::string name;
  fs::path directory;
  fs::path expected;
};

std::vector<GoldenCase> models() {
  std::vector<GoldenCase> all;
  if (!tests_a_gpu()) return all;
  const fs::path golden = "tests/golden";
  for (const char* name : {"bert_mean", "bert_cls", "bert_bf16", "bert_rerank", "bert_classify"})
    all.push_back({name, golden / name, golden / name / "expected.safetensors"});
  const char* minilm = std::getenv("MILLRACE_MINILM_DIR");
  if (minilm && fs::exists(minilm))
    all.push_back({"minilm", minilm, golden / "minilm" / "expected.safetensors"});
  return all;
}

void PrintTo(const GoldenCase& model, std::ostream* out) {
  *out << model.name;
}

class GpuModelTest : public testing::TestWithParam<GoldenCase> {};

// ||out - want|| / ||want|| and the cosine of one row.
struct RowError {
  double relative = 0;
  double cosine = 1;
};

RowError row_error(std::span<const float> out, const float* want) {
  double difference = 0;
  double norm = 0;
  double own = 0;
  double dot = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    difference += std::pow(static_cast<double>(out[i]) - want[i], 2);
    norm += std::pow(static_cast<double>(want[i]), 2);
    own += std::pow(static_cast<double>(out[i]), 2);
    dot += static_cast<double>(out[i]) * want[i];
  }
  if (!std::isfinite(difference)) return {.relative = INFINITY, .cosine = -1};
  return {.relative = std::sqrt(difference / norm), .cosine = dot / std::sqrt(own * norm)};
}

TEST_P(GpuModelTest, AgreesWithTransformers) {
  const Expected expected(GetParam().expected);
  for (const ComputeDType dtype : {ComputeDType::kF32, ComputeDType::kF16, ComputeDType::kBF16}) {
    SCOPED_TRACE(to_string(dtype));
    const auto model = load(GetParam().directory, dtype);
    const auto width = static_cast<size_t>(expected.rows.columns());
    RowError worst;
    for (int64_t first = 0; first < expected.num_sequences();) {
      const int64_t last = end_of_step(expected, model->plan.limits, first);
      const StepOutput output = model->runner->run(expected.batch(first, last), false);
      ASSERT_EQ(output.width, expected.rows.columns());
      for (int64_t i = first; i < last; ++i) {
        const float* want = expected.rows.as<const float>().data() + static_cast<size_t>(i) * width;
        const RowError error =
            row_error(output.rows.subspan(static_cast<size_t>(i - first) * width, width), want);
        worst.relative = std::max(worst.relative, error.relative);
        worst.cosine = std::min(worst.cosine, error.cosine);
      }
      first = last;
    }
    std::cout << "[          ] " << to_string(dtype) << ": worst relative error " << worst.relative
              << ", least cosine " << worst.cosine << "\n";
    if (dtype == ComputeDType::kF32) {
      EXPECT_LE(worst.relative, 1e-4);
    } else if (model->config.is_classifier()) {  // logits may lie near zero
      EXPECT_LE(worst.relative, dtype == ComputeDType::kBF16 ? 0.1 : 0.01);
    } else {
      EXPECT_GE(worst.cosine, dtype == ComputeDType::kBF16 ? 0.9995 : 0.99999);
    }
  }
}

TEST_P(GpuModelTest, DeterministicRowsDependOnTheirOwnSequenceAlone) {
  const Expected expected(GetParam().expected);
  for (const ComputeDType dtype : {ComputeDType::kF32, ComputeDType::kF16, ComputeDType::kBF16}) {
    SCOPED_TRACE(to_string(dtype));
    const auto model = load(GetParam().directory, dtype, true);
    const int64_t last = end_of_step(expected, model->plan.limits, 0);
    const StepOutput output = model->runner->run(expected.batch(0, last), true);
    const std::vector<float> rows(output.rows.begin(), output.rows.end());
    const std::vector<float> tokens(output.token_rows.begin(), output.token_rows.end());
    const auto width = static_cast<size_t>(output.width);
    const auto token_width = static_cast<size_t>(output.token_width);
    for (int64_t i = 0; i < last; ++i) {
      const StepOutput alone = model->runner->run(expected.batch(i, i + 1), true);
      EXPECT_EQ(std::memcmp(alone.rows.data(), rows.data() + static_cast<size_t>(i) * width,
                            width * sizeof(float)),
                0)
          << "sequence " << i;
      const auto begin = static_cast<size_t>(expected.cu_seqlens[static_cast<size_t>(i)]);
      EXPECT_EQ(std::memcmp(alone.token_rows.data(), tokens.data() + begin * token_width,
                            alone.token_rows.size() * sizeof(float)),
                0)
          << "tokens of sequence " << i;
    }
  }
}

// The second step is launched before the first one is collected, a hundred times.
TEST_P(GpuModelTest, StepsInFlightDoNotDisturbEachOther) {
  const Expected expected(GetParam().expected);
  const auto model = load(GetParam().directory, ComputeDType::kBF16);
  ModelRunner& runner = *model->runner;
  const int64_t half = std::min<int64_t>(expected.num_sequences() / 2, 8);
  const Batch batches[] = {expected.batch(0, half), expected.batch(half, 2 * half)};
  std::vector<float> alone[2];
  for (size_t i = 0; i < 2; ++i) {
    const StepOutput output = runner.run(batches[i], false);
    alone[i].assign(output.rows.begin(), output.rows.end());
  }
  runner.launch(batches[0], false);
  for (size_t step = 1; step < 100; ++step) {
    runner.launch(batches[step % 2], false);
    const StepOutput output = runner.collect();
    ASSERT_EQ(std::vector<float>(output.rows.begin(), output.rows.end()), alone[(step - 1) % 2])
        << "step " << step - 1;
  }
}

// Random batches of few sizes, so that each size is run, recorded and replayed with other texts in
// it: the bits are those of steps that are never recorded.
TEST_P(GpuModelTest, ReplayedStepsGiveTheRowsOfLaunchedOnes) {
  const Expected expected(GetParam().expected);
  std::mt19937 random(std::random_device{}());
  for (const ComputeDType dtype : {ComputeDType::kF32, ComputeDType::kBF16}) {
    const auto replaying = load(GetParam().directory, dtype, true);
    const auto launching = load(GetParam().directory, dtype, true, true);
    for (int step = 0; step < 200; ++step) {
      const auto count = static_cast<int64_t>(1 + random() % 4);
      const auto first =
          static_cast<int64_t>(random() % static_cast<uint32_t>(expected.num_sequences() - count));
      const bool with_tokens = random() % 4 == 0;
      const Batch batch = expected.batch(first, first + count);
      const StepOutput replayed = replaying->runner->run(batch, with_tokens);
      const StepOutput launched = launching->runner->run(batch, with_tokens);
      ASSERT_TRUE(std::ranges::equal(replayed.rows, launched.rows)) << to_string(batch);
      ASSERT_TRUE(std::ranges::equal(replayed.token_rows, launched.token_rows)) << to_string(batch);
    }
    Batch bad = expected.batch(0, 1);
    bad.token_ids.back() = 1 << 30;
    for (int i = 0; i < 3; ++i) {
      EXPECT_THROW(replaying->runner->run(bad, false), InternalError);
      replaying->runner->run(expected.batch(0, 1), false);
    }
  }
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GpuModelTest);
INSTANTIATE_TEST_SUITE_P(Gpu, GpuModelTest, testing::ValuesIn(models()),
                         [](const auto& model) { return model.param.name; });

}  // namespace
}  // namespace millrace
