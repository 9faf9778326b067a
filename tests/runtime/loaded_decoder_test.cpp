// Decoders loaded as the server loads them: from a checkpoint, from an engine, from a seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>

#include "base/file.h"
#include "build/builder.h"
#include "runtime/generation_core.h"
#include "runtime/loaded_model.h"
#include "support/source_dir.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path demo_model() {
  return test::source_dir() / "examples" / "demo-model";
}

// What millrace serve gives to a decoder on the CPU, with a small cache.
LoadOptions small(int64_t kv_cache_bytes = 64 << 20) {
  LoadOptions options{.device = Device{}, .num_threads = 2};
  options.build.max_seq_len = 256;
  options.build.max_batch_size = 4;
  options.build.max_num_tokens = 128;
  options.generation.kv_cache_bytes = kv_cache_bytes;
  return options;
}

std::vector<int32_t> generate(LoadedModel& loaded, const std::vector<int32_t>& prompt,
                              int64_t max_tokens) {
  Generator& generator = *loaded.generator;
  GenerationCore core(std::move(generator.runner), {.limits = generator.limits,
                                                    .blocks = generator.blocks,
                                                    .vocab_size = loaded.config.vocab_size});
  std::vector<int32_t> tokens;
  std::promise<void> ended;
  core.submit({.prompt = prompt,
               .sampling = {.temperature = 0, .max_tokens = max_tokens},
               .on_chunk = [&](GenerationChunk chunk) {
                 for (const GeneratedToken& token : chunk.tokens) tokens.push_back(token.id);
                 if (chunk.finish_reason != FinishReason::kNone) ended.set_value();
               }});
  ended.get_future().wait();
  return tokens;
}

struct Golden {
  Golden() {
    const Checkpoint expected = Checkpoint::from_file(
        (test::source_dir() / "tests/golden/decoders/demo_model/expected.safetensors").string());
    const auto ids = expected.find("token_ids")->as<const int32_t>();
    const auto length = expected.find("prompt_length")->as<const int32_t>()[0];
    prompt.assign(ids.begin(), ids.begin() + length);
    tokens.assign(ids.begin() + length, ids.end());
  }

  std::vector<int32_t> prompt, tokens;  // transformers', greedy
};

TEST(LoadedDecoder, ACheckpointAnswersAsTransformersDoes) {
  const Golden golden;
  const auto loaded = LoadedModel::open(demo_model(), small());
  EXPECT_EQ(loaded->runner, nullptr);
  const Generator& generator = *loaded->generator;
  EXPECT_TRUE(generator.chat_template.has_value());
  EXPECT_THAT(generator.defaults.end_token_ids, testing::ElementsAre(3065, 3063));
  EXPECT_EQ(generator.limits.max_seq_len, 256);
  EXPECT_EQ(generator.limits.max_batch_size, 4);
  EXPECT_EQ(generator.pieces->text(3065), "<|im_end|>");
  EXPECT_LE(generator.kv_bytes, 64 << 20);
  EXPECT_EQ(generate(*loaded, golden.prompt, static_cast<int64_t>(golden.tokens.size())),
            golden.tokens);
}

TEST(LoadedDecoder, AnEngineAnswersAlikeUnderItsOwnLimitsOrThoseAskedFor) {
  const Golden golden;
  const test::TempDir directory;
  const fs::path engine = directory.path() / "engine";
  ThreadPool pool(2);
  build_engine({.source = {.kind = SourceKind::kLocal, .repo = demo_model().string()},
                .max_seq_len = 200,
                .max_batch_size = 3,
                .max_num_tokens = 100},
               engine, pool, {});
  LoadOptions options = small();
  auto loaded = LoadedModel::open(engine, options);
  EXPECT_EQ(loaded->generator->limits.max_seq_len, 200) << "the engine's, not options.build's";
  EXPECT_EQ(loaded->generator->limits.max_batch_size, 3);
  EXPECT_EQ(generate(*loaded, golden.prompt, static_cast<int64_t>(golden.tokens.size())),
            golden.tokens);
  options.limits = {.max_seq_len = 128, .max_batch_size = 2, .max_num_tokens = 70};
  loaded = LoadedModel::open(engine, options);
  EXPECT_EQ(loaded->generator->limits.max_seq_len, 128);
  EXPECT_EQ(loaded->generator->limits.max_batch_size, 2);
  EXPECT_EQ(loaded->generator->limits.max_num_tokens, 70);
}

TEST(LoadedDecoder, RandomWeightsNeedNoTokenizer) {
  const test::TempDir directory;
  write_file((directory.path() / "config.json").string(),
             read_file((demo_model() / "config.json").string()));
  LoadOptions options = small();
  options.random_weights = 1;
  const auto loaded = LoadedModel::open(directory.path(), options);
  EXPECT_EQ(loaded->generator->pieces, nullptr);
  EXPECT_FALSE(loaded->generator->chat_template.has_value());
  EXPECT_EQ(generate(*loaded, {1, 2, 3}, 5).size(), 5u);
}

// Windows, soft caps and two groups of layers: alone and one step at a time, or together with
// others in a cache so small that sequences are preempted, with two steps in flight.
TEST(LoadedDecoder, WindowsChangeNoTokens) {
  for (const char* name : {"mistral", "gemma2", "gemma3"}) {
    LoadOptions options = small();
    options.random_weights = 3;
    options.build.max_seq_len = 96;
    options.build.max_num_tokens = 65;
    options.generation.kv_block_size = 16;
    const fs::path shape = test::source_dir() / "tests/golden/decoders" / name;
    std::vector<GenerationRequest> requests;
    for (int i = 0; i < 8; ++i) {
      GenerationRequest request{.sampling = {.temperature = 1, .seed = i, .max_tokens = 30}};
      for (int j = 0; j < 5 + 7 * i; ++j) request.prompt.push_back((i * 31 + j * 7) % 101);
      requests.push_back(request);
    }
    const auto run = [&](int64_t depth, bool all_at_once, int64_t kv_cache_bytes) {
      options.generation.kv_cache_bytes = kv_cache_bytes;
      const auto loaded = LoadedModel::open(shape, options);
      Generator& generator = *loaded->generator;
      generator.limits.max_steps_in_flight = depth;
      GenerationCore core(std::move(generator.runner), {.limits = generator.limits,
                                                        .blocks = generator.blocks,
                                                        .vocab_size = loaded->config.vocab_size});
      std::vector<std::vector<int32_t>> tokens(requests.size());
      std::vector<std::promise<void>> ended(requests.size());
      for (size_t i = 0; i < requests.size(); ++i) {
        GenerationRequest request = requests[i];
        request.on_chunk = [&, i](GenerationChunk chunk) {
          for (const GeneratedToken& token : chunk.tokens) tokens[i].push_back(token.id);
          if (chunk.finish_reason != FinishReason::kNone) ended[i].set_value();
        };
        core.submit(std::move(request));
        if (!all_at_once) ended[i].get_future().wait();
      }
      for (size_t i = 0; all_at_once && i < ended.size(); ++i) ended[i].get_future().wait();
      // Where all layers see a window alone, what one sequence needs holds them all.
      if (generator.blocks.groups.size() > 1) {
        EXPECT_EQ(core.stats().num_preemptions > 0, all_at_once) << name;
      }
      return tokens;
    };
    const auto alone = run(1, false, 64 << 20);
    options.generation.batch_scheduler_policy = BatchSchedulerPolicy::kMaxUtilization;
    // What holds one sequence and little more.
    const auto loaded = LoadedModel::open(shape, options);
    const int64_t one = loaded->generator->kv_bytes / 4;
    EXPECT_EQ(run(2, true, one + one / 2), alone) << name;
  }
}

TEST(LoadedDecoder, ACacheThatHoldsNoSequenceIsRefusedWithItsFigures) {
  try {
    LoadedModel::open(demo_model(), small(1 << 20));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.message(), HasSubstr("max_seq_len = 256"));
    EXPECT_THAT(error.hint(), HasSubstr("lower max_seq_len to at most"));
    EXPECT_THAT(error.hint(), HasSubstr("kv_cache_bytes"));
  }
  EXPECT_THROW(LoadedModel::open(demo_model(), small(int64_t{1} << 50)), Error)
      << "more than the machine has";
  LoadOptions options = small();
  options.generation.kv_cache_host_memory_bytes = int64_t{1} << 50;
  EXPECT_THROW(LoadedModel::open(demo_model(), options), Error) << "likewise";
}

TEST(LoadedDecoder, ADamagedGenerationConfigIsRefusedByName) {
  const test::TempDir directory;
  for (const auto& entry : fs::directory_iterator(demo_model()))
    if (entry.is_regular_file()) fs::copy(entry.path(), directory.path());
  write_file((directory.path() / "generation_config.json").string(), R"({"eos_token_id": 99999})");
  try {
    LoadedModel::open(directory.path(), small());
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("generation_config.json"));
    EXPECT_THAT(error.message(), HasSubstr("eos_token_id"));
  }
}

}  // namespace
}  // namespace millrace
