// A report of a small model: what was measured, what did not fit, and the same as JSON.
#include "runtime/model_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

LoadOptions options_for(const ModelBenchOptions& sizes) {
  LoadOptions options{.device = Device{}, .num_threads = 2, .limits = limits_of(sizes)};
  options.build.max_num_tokens = 64;
  options.generation.kv_cache_bytes = 4 << 20;
  return options;
}

TEST(ModelBench, MeasuresEachSizeThatFits) {
  const ModelBenchOptions sizes{
      .prompts = {16, 100}, .batch_sizes = {1, 3, 40}, .contexts = {20, 110}, .num_steps = 2};
  const fs::path demo = test::source_dir() / "examples" / "demo-model";
  const auto model = LoadedModel::open(demo, options_for(sizes));
  std::vector<std::string> heard;
  const ModelBenchReport report =
      run_model_bench(*model, sizes, [&](const std::string& size) { heard.push_back(size); });
  ASSERT_EQ(report.prefills.size(), 2u);
  EXPECT_EQ(report.prefills[1].num_tokens, 100) << "in two steps";
  for (const PrefillRate& rate : report.prefills) EXPECT_GT(rate.tokens_per_s(), 0);
  // 4 MiB hold 512 tokens of 8 KiB.
  EXPECT_EQ(report.kv_token_bytes, 8 * 2 * 4 * 64 * 4);
  ASSERT_GE(report.decodes.size(), 3u);
  EXPECT_FALSE(report.skipped.empty());
  EXPECT_THAT(report.skipped.back(), HasSubstr("the KV cache holds"));
  EXPECT_EQ(heard.size(), report.prefills.size() + report.decodes.size());
  for (const DecodeRate& rate : report.decodes) {
    EXPECT_GT(rate.step, 0);
    EXPECT_EQ(rate.bytes,
              report.weight_bytes + rate.batch_size * rate.context * report.kv_token_bytes);
    EXPECT_GT(rate.memory_share(), 0);
    EXPECT_LT(rate.memory_share(), 20) << "of memory; the model itself fits caches";
  }
  const json::value parsed = json::parse(to_json(report), "report");
  EXPECT_EQ(parsed.at("decode").as_array().size(), report.decodes.size());
  EXPECT_THAT(render(report), HasSubstr("Qwen3ForCausalLM"));
}

TEST(ModelBench, AnEncoderGeneratesNothing) {
  const fs::path bert = test::source_dir() / "tests/golden/bert_mean";
  const auto model = LoadedModel::open(bert, {.device = Device{}, .num_threads = 1});
  EXPECT_THROW(run_model_bench(*model, {}, [](const std::string&) {}), Error);
}

}  // namespace
}  // namespace millrace
