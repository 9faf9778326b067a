// The whole way from a prompt to its tokens, with the shipped model: alone, together, preempted,
// cancelled, failing.
#include "runtime/generation_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <random>
#include <thread>

#include "checkpoint/model_files.h"
#include "models/plan.h"
#include "ops/cpu/cpu_ops.h"
#include "support/rounds.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxSeqLen = 192;
constexpr int64_t kBlockSize = 16;
constexpr int32_t kPoison = 7;  // a token that makes a step throw, where a test wants that

class FallibleModel : public Model {
 public:
  FallibleModel(std::unique_ptr<Model> model, const std::atomic<bool>& fails)
      : model_(std::move(model)), fails_(fails) {}

  Output forward(Ops& ops, const Batch& batch) const override {
    if (fails_ && std::ranges::find(batch.token_ids, kPoison) != batch.token_ids.end())
      throw Error(ErrorCode::kUnsupported, "a poisoned step", "none");
    return model_->forward(ops, batch);
  }
  const KvCacheSpec& kv_cache_spec() const override { return model_->kv_cache_spec(); }

 private:
  std::unique_ptr<Model> model_;
  const std::atomic<bool>& fails_;
};

// A checkpoint of which not all is wanted.
class PartOfCheckpoint : public CheckpointSource {
 public:
  using CheckpointSource::CheckpointSource;
  std::vector<std::string> names() const override { return {}; }
};

// What came of one request.
struct Outcome {
  std::map<size_t, std::vector<int32_t>> tokens;  // by choice
  std::map<size_t, FinishReason> reasons;
  std::vector<GeneratedToken> first_choice;
  std::vector<GeneratedToken> prompt;
  Clock::time_point scheduled_at{};
  std::exception_ptr error;
  int64_t num_cached_tokens = 0;
};

class TestGenerator {
 public:
  struct Options {
    BatchSchedulerPolicy policy = BatchSchedulerPolicy::kGuaranteedNoEvict;
    int64_t num_blocks = 256;
    int64_t num_host_blocks = 0;
    int64_t max_batch_size = 16;
    int64_t max_num_tokens = 48;  // prompts come in chunks
    int64_t depth = 1;            // steps in flight
    int64_t max_prompt_logits = 5;
    std::string failures = {};  // as MILLRACE_FAIL says them
    // Of the demo model's eight: what is tested is the loop, and it depends on all that was said.
    int64_t num_layers = 2;
  };

  TestGenerator() : TestGenerator(Options{}) {}
  explicit TestGenerator(const Options& options) {
    const fs::path directory = test::source_dir() / "examples" / "demo-model";
    files_ = open_hf_directory(directory);
    config_ = ModelConfig::from_hf(files_.config_texts, directory.string());
    config_.num_layers = options.num_layers;
    config_.decoder->layers.resize(static_cast<size_t>(options.num_layers));
    const StepLimits limits{.max_num_tokens = options.max_num_tokens,
                            .max_num_sequences = options.max_batch_size,
                            .max_seq_len = kMaxSeqLen,
                            .max_logits_rows = options.max_batch_size + options.max_prompt_logits};
    const PartOfCheckpoint source(files_.weights, files_.naming);
    const ModelPlan plan = plan_model(config_, limits, source, {});
    auto ops = std::make_unique<CpuOps>(pool_, cpu::best_isa(cpu_features()), Precision{},
                                        plan.activation_bytes());
    ParameterList list;
    auto model = make_model(Params(source, *ops, list), config_, limits);
    KvCacheSize size{.block_size = kBlockSize};
    size.num_blocks.assign(plan.kv_cache.groups.size(), options.num_blocks);
    if (options.num_host_blocks > 0)
      size.num_host_blocks.assign(plan.kv_cache.groups.size(), options.num_host_blocks);
    ops->allocate_kv_cache(plan.kv_cache, size);
    GenerationConfig config{.limits = {.max_num_tokens = options.max_num_tokens,
                                       .max_batch_size = options.max_batch_size,
                                       .max_seq_len = kMaxSeqLen,
                                       .max_prompt_logits = options.max_prompt_logits,
                                       .max_steps_in_flight = options.depth,
                                       .policy = options.policy},
                            .blocks = {.seed = 1},
                            .vocab_size = config_.vocab_size};
    for (const KvGroupSpec& group : plan.kv_cache.groups)
      config.blocks.groups.push_back({.block_size = kBlockSize,
                                      .num_blocks = options.num_blocks,
                                      .num_host_blocks = options.num_host_blocks,
                                      .window = group.window});
    core_ = std::make_unique<GenerationCore>(
        std::make_unique<DecodeRunner>(std::move(ops),
                                       std::make_unique<FallibleModel>(std::move(model), fails),
                                       FailureInjection(options.failures)),
        config, [this] { ++num_lost; });
  }

  std::atomic<bool> fails = false;  // steps with kPoison among their tokens
  std::atomic<int> num_lost = 0;    // devices

  GenerationCore& core() { return *core_; }
  const ModelConfig& config() const { return config_; }

  // Submits; the outcome is there when every choice has ended. `on_token` hears of each chunk.
  std::future<Outcome> submit(GenerationRequest request,
                              std::shared_ptr<RequestHandle>* handle = nullptr,
                              std::function<void(const GenerationChunk&)> on_token = {}) {
    struct State {
      Outcome outcome;
      size_t num_open = 0;
      std::promise<Outcome> promise;
    };
    auto state = std::make_shared<State>();
    state->num_open = static_cast<size_t>(request.sampling.n);
    request.on_chunk = [state, on_token](GenerationChunk chunk) {
      if (on_token) on_token(chunk);
      Outcome& outcome = state->outcome;
      for (GeneratedToken& token : chunk.tokens) {
        outcome.tokens[chunk.choice].push_back(token.id);
        if (chunk.choice == 0) outcome.first_choice.push_back(std::move(token));
      }
      for (GeneratedToken& token : chunk.prompt_tokens) outcome.prompt.push_back(std::move(token));
      outcome.num_cached_tokens = chunk.num_cached_tokens;
      outcome.scheduled_at = chunk.scheduled_at;
      if (chunk.finish_reason == FinishReason::kNone) return;
      ASSERT_TRUE(outcome.reasons.emplace(chunk.choice, chunk.finish_reason).second)
          << "choice " << chunk.choice << " ended twice";
      if (chunk.error) outcome.error = chunk.error;
      if (--state->num_open == 0) state->promise.set_value(std::move(outcome));
    };
    std::future<Outcome> future = state->promise.get_future();
    const auto submitted = core_->submit(std::move(request));
    if (handle) *handle = submitted;
    return future;
  }

  Outcome run(GenerationRequest request) { return submit(std::move(request)).get(); }

  // Nobody holds a block any more.
  void expect_no_blocks_used() {
    // The last chunk comes before the step is counted.
    for (int i = 0; i < 1000 && core_->stats().num_requests > 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    for (const CacheGroupStats& group : core_->stats().groups) EXPECT_EQ(group.num_used, 0);
    EXPECT_EQ(core_->stats().num_requests, 0u);
  }

 private:
  ThreadPool pool_{1};
  ModelFiles files_;
  ModelConfig config_;
  std::unique_ptr<GenerationCore> core_;
};

std::string message_of(const std::exception_ptr& error) {
  if (!error) return "";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& caught) {
    return caught.what();
  }
}

std::vector<int32_t> random_prompt(std::mt19937& random, size_t length) {
  std::vector<int32_t> prompt(length);
  for (int32_t& token : prompt) token = static_cast<int32_t>(100 + random() % 1900);
  return prompt;
}

GenerationRequest greedy(std::vector<int32_t> prompt, int64_t max_tokens) {
  return {.prompt = std::move(prompt), .sampling = {.temperature = 0, .max_tokens = max_tokens}};
}

class GenerationCoreTest : public testing::TestWithParam<int64_t> {};

INSTANTIATE_TEST_SUITE_P(StepsInFlight, GenerationCoreTest, testing::Values(1, 2),
                         [](const auto& depth) { return std::to_string(depth.param); });

TEST_P(GenerationCoreTest, GreedyTokensAreThoseOfTransformers) {
  const Checkpoint expected = Checkpoint::from_file(
      (test::source_dir() / "tests/golden/decoders/demo_model/expected.safetensors").string());
  const auto ids = expected.find("token_ids")->as<const int32_t>();
  const auto length = static_cast<size_t>(expected.find("prompt_length")->as<const int32_t>()[0]);
  const std::vector<int32_t> prompt(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(length));
  const std::vector<int32_t> want(ids.begin() + static_cast<std::ptrdiff_t>(length), ids.end());
  TestGenerator generator({.depth = GetParam(), .num_layers = 8});
  const Outcome outcome = generator.run(greedy(prompt, static_cast<int64_t>(want.size())));
  EXPECT_EQ(outcome.tokens.at(0), want);
  EXPECT_EQ(outcome.reasons.at(0), FinishReason::kLength);
  // Again: most of the prompt is found in the cache, and changes nothing.
  const Outcome again = generator.run(greedy(prompt, static_cast<int64_t>(want.size())));
  EXPECT_EQ(again.tokens, outcome.tokens);
  EXPECT_EQ(again.num_cached_tokens, (static_cast<int64_t>(length) - 1) / kBlockSize * kBlockSize);
  generator.expect_no_blocks_used();
}

TEST_P(GenerationCoreTest, EndTokensEndAChoiceUnlessIgnoredOrTooEarly) {
  std::mt19937 random(11);
  TestGenerator generator({.depth = GetParam()});
  const std::vector<int32_t> prompt = random_prompt(random, 20);
  const std::vector<int32_t> free = generator.run(greedy(prompt, 12)).tokens.at(0);
  GenerationRequest request = greedy(prompt, 12);
  request.end_token_ids = {free[4]};
  const auto first = std::ranges::find(free, free[4]) - free.begin();
  const Outcome ended = generator.run(request);
  EXPECT_EQ(ended.tokens.at(0).size(), static_cast<size_t>(first) + 1);
  EXPECT_EQ(ended.reasons.at(0), FinishReason::kStop);
  request.sampling.ignore_eos = true;
  EXPECT_EQ(generator.run(request).tokens.at(0), free);
  request.sampling.ignore_eos = false;
  request.sampling.min_tokens = 12;
  const Outcome later = generator.run(request);
  EXPECT_THAT(later.tokens.at(0), testing::Not(testing::Contains(free[4])));
  EXPECT_EQ(later.reasons.at(0), FinishReason::kLength);
  request.sampling.min_tokens = 0;
  request.sampling.ignore_eos = true;
  request.sampling.stop_token_ids = {free[4]};
  EXPECT_EQ(generator.run(request).tokens.at(0), ended.tokens.at(0));
}

TEST_P(GenerationCoreTest, BadWordsAndAllowedTokensAreObeyed) {
  std::mt19937 random(12);
  TestGenerator generator({.depth = GetParam()});
  const std::vector<int32_t> prompt = random_prompt(random, 9);
  const std::vector<int32_t> free = generator.run(greedy(prompt, 8)).tokens.at(0);
  GenerationRequest request = greedy(prompt, 8);
  request.sampling.bad_words = {{free[0]}, {free[2], free[3]}};
  const std::vector<int32_t> tokens = generator.run(request).tokens.at(0);
  EXPECT_THAT(tokens, testing::Not(testing::Contains(free[0])));
  for (size_t i = 1; i < tokens.size(); ++i)
    EXPECT_FALSE(tokens[i - 1] == free[2] && tokens[i] == free[3]);
  request.sampling.bad_words = {};
  request.sampling.allowed_token_ids = {300, 301, 302};
  const std::vector<int32_t> allowed = generator.run(request).tokens.at(0);
  for (const int32_t token : allowed) {
    EXPECT_GE(token, 300);
    EXPECT_LE(token, 302);
  }
  request.sampling.bad_words = {{300}, {301}, {302}};
  const Outcome nothing_left = generator.run(request);
  EXPECT_EQ(nothing_left.reasons.at(0), FinishReason::kError);
  EXPECT_THAT(message_of(nothing_left.error), testing::HasSubstr("no token is left"));
  generator.expect_no_blocks_used();
}

TEST_P(GenerationCoreTest, LogprobsComeWithTheTokens) {
  std::mt19937 random(13);
  TestGenerator generator({.depth = GetParam()});
  GenerationRequest request = greedy(random_prompt(random, 9), 4);
  request.sampling.logprobs = 3;
  const Outcome outcome = generator.run(request);
  for (const GeneratedToken& token : outcome.first_choice) {
    EXPECT_EQ(token.rank, 1);
    EXPECT_LT(token.logprob, 0);
    ASSERT_EQ(token.top.size(), 3u);
    EXPECT_EQ(token.top[0], std::pair(token.id, token.logprob));
    EXPECT_GE(token.top[1].second, token.top[2].second);
  }
}

// A token's logprob behind a prompt is the one that it has where nothing else may be drawn.
TEST_P(GenerationCoreTest, PromptLogprobsAreThoseOfTheTokensDrawnOneByOne) {
  std::mt19937 random(20);
  const std::vector<int32_t> prompt = random_prompt(random, 23);
  TestGenerator generator({.depth = GetParam()});
  generator.run(greedy(prompt, 2));  // its prefix is cached, and must not be used
  GenerationRequest request = greedy(prompt, 3);
  request.sampling.prompt_logprobs = 2;
  const Outcome outcome = generator.run(request);
  EXPECT_EQ(outcome.num_cached_tokens, 0);
  ASSERT_EQ(outcome.prompt.size(), prompt.size());
  EXPECT_EQ(outcome.prompt[0].id, prompt[0]);
  EXPECT_EQ(outcome.prompt[0].rank, 0);
  for (size_t i = 1; i < prompt.size(); ++i) {
    GenerationRequest one =
        greedy({prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(i)}, 1);
    one.sampling.allowed_token_ids = {prompt[i]};
    one.sampling.logprobs = 2;
    const GeneratedToken alone = generator.run(one).first_choice.at(0);
    EXPECT_EQ(outcome.prompt[i].id, prompt[i]);
    EXPECT_EQ(outcome.prompt[i].logprob, alone.logprob) << i;
    EXPECT_EQ(outcome.prompt[i].rank, alone.rank) << i;
    EXPECT_EQ(outcome.prompt[i].top, alone.top) << i;
  }
  EXPECT_EQ(outcome.tokens, generator.run(greedy(prompt, 3)).tokens);
  request.prompt.resize(1);
  EXPECT_EQ(generator.run(request).prompt.size(), 1u) << "nothing to tell but the token";
  generator.expect_no_blocks_used();
}

TEST_P(GenerationCoreTest, ChunksSayWhenTheRequestWasScheduled) {
  std::mt19937 random(21);
  TestGenerator generator({.depth = GetParam()});
  const auto before = Clock::now();
  const Outcome outcome = generator.run(greedy(random_prompt(random, 60), 4));
  EXPECT_GE(outcome.scheduled_at, before);
  EXPECT_LE(outcome.scheduled_at, Clock::now());
}

GenerationRequest random_request(std::mt19937& random) {
  const auto uniform = [&](double least, double most) {
    return static_cast<float>(std::uniform_real_distribution(least, most)(random));
  };
  GenerationRequest request{.prompt = random_prompt(random, 1 + random() % 90)};
  SamplingParams& sampling = request.sampling;
  sampling.temperature = random() % 3 == 0 ? 0 : uniform(0.2, 1.5);
  sampling.top_k = random() % 2 ? 0 : static_cast<int64_t>(1 + random() % 50);
  sampling.top_p = random() % 2 ? 1 : uniform(0.3, 1.0);
  sampling.repetition_penalty = random() % 2 ? 1 : uniform(1.0, 1.5);
  sampling.frequency_penalty = random() % 2 ? 0 : uniform(0.0, 1.0);
  sampling.seed = random();
  sampling.max_tokens = 1 + random() % 40;
  sampling.n = random() % 4 == 0 ? 3 : 1;
  if (random() % 4 == 0) sampling.prompt_logprobs = 0;
  if (random() % 4 == 0) sampling.bad_words = {{static_cast<int32_t>(100 + random() % 1900)}};
  if (random() % 4 == 0) sampling.min_tokens = std::min<int64_t>(5, sampling.max_tokens);
  request.priority = random() % 3;
  request.end_token_ids = {static_cast<int32_t>(100 + random() % 1900)};
  return request;
}

// Under both policies, with so few blocks that sequences are preempted all the time.
TEST_P(GenerationCoreTest, WhatElseIsInTheBatchChangesNothing) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 24; ++i) requests.push_back(random_request(random));
  std::vector<Outcome> alone;
  {
    TestGenerator generator;  // one step at a time
    for (const GenerationRequest& request : requests) alone.push_back(generator.run(request));
  }
  for (const auto policy :
       {BatchSchedulerPolicy::kGuaranteedNoEvict, BatchSchedulerPolicy::kMaxUtilization}) {
    TestGenerator generator({.policy = policy, .num_blocks = 28, .depth = GetParam()});
    std::vector<std::future<Outcome>> together;
    for (const GenerationRequest& request : requests) together.push_back(generator.submit(request));
    for (size_t i = 0; i < requests.size(); ++i) {
      const Outcome outcome = together[i].get();
      EXPECT_EQ(outcome.tokens, alone[i].tokens) << "request " << i;
      EXPECT_EQ(outcome.reasons, alone[i].reasons) << "request " << i;
    }
    generator.expect_no_blocks_used();
    if (policy == BatchSchedulerPolicy::kMaxUtilization) {
      EXPECT_GT(generator.core().stats().num_preemptions, 0u);
    }
  }
}

TEST_P(GenerationCoreTest, ChoicesDrawAsRequestsOfTheirOwnSeeds) {
  std::mt19937 random(14);
  TestGenerator generator({.depth = GetParam()});
  GenerationRequest request{.prompt = random_prompt(random, 30),
                            .sampling = {.temperature = 1.2f, .seed = 5, .max_tokens = 10, .n = 3}};
  const Outcome together = generator.run(request);
  request.sampling.n = 1;
  for (size_t choice = 0; choice < 3; ++choice) {
    request.sampling.seed = 5 + static_cast<int64_t>(choice);
    EXPECT_EQ(generator.run(request).tokens.at(0), together.tokens.at(choice)) << choice;
  }
  EXPECT_NE(together.tokens.at(0), together.tokens.at(1));
}

TEST_P(GenerationCoreTest, CancelledRequestsGiveTheirBlocksBack) {
  std::mt19937 random(15);
  TestGenerator generator({.depth = GetParam()});
  std::shared_ptr<RequestHandle> handle;
  std::promise<void> begun;
  int num_heard = 0;
  const auto never = generator.submit(greedy(random_prompt(random, 40), 150), &handle,
                                      [&](const GenerationChunk&) {
                                        if (num_heard++ == 0) begun.set_value();
                                      });
  begun.get_future().wait();
  handle->cancel();
  generator.run(greedy(random_prompt(random, 5), 3));  // a step after that
  EXPECT_LT(num_heard, 150);
  generator.expect_no_blocks_used();
}

TEST_P(GenerationCoreTest, AStepThatThrowsFailsItsOwnRequestsAlone) {
  std::mt19937 random(16);
  TestGenerator generator({.depth = GetParam()});
  const GenerationRequest good = greedy(random_prompt(random, 40), 20);
  const Outcome expected = generator.run(good);
  GenerationRequest bad = greedy({200, 201, kPoison, 202}, 5);
  bad.sampling.n = 2;
  generator.fails = true;
  const Outcome failed = generator.run(bad);
  generator.fails = false;
  EXPECT_EQ(failed.reasons.at(0), FinishReason::kError);
  EXPECT_EQ(failed.reasons.at(1), FinishReason::kError);
  EXPECT_THAT(message_of(failed.error), testing::HasSubstr("a poisoned step"));
  EXPECT_EQ(generator.run(good).tokens, expected.tokens);
  generator.expect_no_blocks_used();
  EXPECT_EQ(generator.core().stats().num_failed_steps, 3u) << "tried twice more, alone";
  EXPECT_TRUE(generator.core().healthy(std::chrono::seconds(60)));
  generator.expect_no_blocks_used();
}

// The poisoned one shares its steps with others, which are run again without it.
TEST_P(GenerationCoreTest, WhoMakesAStepThrowFailsAlone) {
  std::mt19937 random(22);
  TestGenerator generator({.depth = GetParam()});
  std::vector<GenerationRequest> good;
  std::vector<Outcome> alone;
  for (int i = 0; i < 6; ++i) {
    good.push_back(random_request(random));
    good.back().sampling.max_tokens = 60;
    good.back().sampling.bad_words.push_back({kPoison});
    alone.push_back(generator.run(good.back()));
  }
  generator.fails = true;
  std::vector<std::future<Outcome>> together;
  for (const GenerationRequest& request : good) together.push_back(generator.submit(request));
  const Outcome bad = generator.run(greedy({200, 201, kPoison, 202}, 50));
  EXPECT_EQ(bad.reasons.at(0), FinishReason::kError);
  EXPECT_THAT(message_of(bad.error), testing::HasSubstr("a poisoned step"));
  for (size_t i = 0; i < good.size(); ++i) {
    const Outcome outcome = together[i].get();
    EXPECT_EQ(outcome.tokens, alone[i].tokens) << i;
    EXPECT_EQ(outcome.reasons, alone[i].reasons) << i;
  }
  generator.expect_no_blocks_used();
}

// At any point of a step that many share: nobody notices.
TEST_P(GenerationCoreTest, AFailureThatPassesHurtsNobody) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<GenerationRequest> requests;
  std::vector<Outcome> alone;
  TestGenerator generator;
  for (int i = 0; i < (test::kSanitized ? 2 : 8); ++i) {
    requests.push_back(random_request(random));
    requests.back().sampling.max_tokens = 60;
    requests.back().sampling.ignore_eos = true;  // all of them are there for long
    alone.push_back(generator.run(requests.back()));
  }
  for (const std::string point : {"alloc", "launch", "sample", "step"}) {
    for (const auto policy :
         {BatchSchedulerPolicy::kGuaranteedNoEvict, BatchSchedulerPolicy::kMaxUtilization}) {
      TestGenerator failing({.policy = policy,
                             .num_blocks = 40,
                             .depth = GetParam(),
                             .failures = point + ":at=20," + point + ":at=60"});
      std::vector<std::future<Outcome>> together;
      for (const GenerationRequest& request : requests) together.push_back(failing.submit(request));
      for (size_t i = 0; i < requests.size(); ++i) {
        const Outcome outcome = together[i].get();
        EXPECT_EQ(outcome.tokens, alone[i].tokens) << point << " " << i;
        EXPECT_EQ(outcome.reasons, alone[i].reasons) << point << " " << i;
        EXPECT_EQ(outcome.prompt.size(), alone[i].prompt.size()) << point << " " << i;
      }
      failing.expect_no_blocks_used();
      EXPECT_EQ(failing.core().stats().num_failed_steps, 2u) << point;
      EXPECT_TRUE(failing.core().healthy(std::chrono::seconds(60)));
    }
  }
}

// Blocks go to host memory and come back, also around steps that fail before or after their copies.
TEST_P(GenerationCoreTest, PrefixesComeBackFromHostMemory) {
  std::mt19937 random(24);
  std::vector<GenerationRequest> requests;
  std::vector<Outcome> alone;
  {
    TestGenerator generator;
    for (int i = 0; i < 6; ++i) {
      requests.push_back(greedy(random_prompt(random, 70), 12));
      alone.push_back(generator.run(requests.back()));
    }
  }
  for (const std::string failures : {"", "alloc:every=7", "launch:every=7", "step:every=7"}) {
    TestGenerator generator({.num_blocks = 14,  // two requests
                             .num_host_blocks = 60,
                             .depth = GetParam(),
                             .failures = failures});
    for (int round = 0; round < 3; ++round) {
      std::vector<std::future<Outcome>> together;
      for (const GenerationRequest& request : requests)
        together.push_back(generator.submit(request));
      int64_t num_cached = 0;
      for (size_t i = 0; i < requests.size(); ++i) {
        const Outcome outcome = together[i].get();
        num_cached += outcome.num_cached_tokens;
        EXPECT_EQ(outcome.tokens, alone[i].tokens) << failures << ", request " << i;
      }
      if (round > 0 && failures.empty()) {
        EXPECT_EQ(num_cached, 6 * 64) << "four blocks of each prompt";
      }
    }
    const CacheGroupStats group = generator.core().stats().groups.at(0);
    EXPECT_GT(group.num_host_cached, 0);
    EXPECT_GT(group.num_evicted, 0u);
    generator.expect_no_blocks_used();
  }
}

TEST_P(GenerationCoreTest, NoRequestIsLostToFailuresThatComeAgainAndAgain) {
  std::mt19937 random(25);
  std::vector<GenerationRequest> requests;
  std::vector<Outcome> alone;
  TestGenerator generator;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(greedy(random_prompt(random, 10 + 5 * static_cast<size_t>(i)), 20));
    alone.push_back(generator.run(requests.back()));
  }
  for (const std::string failures :
       {"alloc:every=2", "launch:every=3", "sample:every=3", "step:every=4"}) {
    TestGenerator failing({.depth = GetParam(), .failures = failures});
    std::vector<std::future<Outcome>> together;
    for (const GenerationRequest& request : requests) together.push_back(failing.submit(request));
    for (size_t i = 0; i < requests.size(); ++i)
      EXPECT_EQ(together[i].get().tokens, alone[i].tokens) << failures << ", request " << i;
    EXPECT_EQ(failing.run(requests[0]).tokens, alone[0].tokens) << failures << ", nobody beside it";
    failing.expect_no_blocks_used();
    EXPECT_GT(failing.core().stats().num_failed_steps, 5u);
  }
}

TEST_P(GenerationCoreTest, ALostDeviceEndsEverything) {
  std::mt19937 random(23);
  TestGenerator generator({.depth = GetParam(), .failures = "device:at=12"});
  std::vector<std::future<Outcome>> open;
  for (int i = 0; i < 5; ++i)
    open.push_back(generator.submit(greedy(random_prompt(random, 20), 150)));
  for (auto& outcome : open) EXPECT_EQ(outcome.get().reasons.at(0), FinishReason::kError);
  generator.expect_no_blocks_used();
  EXPECT_EQ(generator.num_lost, 1);
  EXPECT_FALSE(generator.core().healthy(std::chrono::seconds(60)));
  EXPECT_THROW(generator.submit(greedy({200}, 1)), Error);
}

TEST_P(GenerationCoreTest, DeadlinesAreKept) {
  std::mt19937 random(17);
  TestGenerator generator({.depth = GetParam()});
  GenerationRequest late = greedy(random_prompt(random, 10), 5);
  late.deadline = Clock::now() - std::chrono::seconds(1);
  const Outcome outcome = generator.run(late);
  EXPECT_EQ(outcome.reasons.at(0), FinishReason::kTimeout);
  EXPECT_THAT(message_of(outcome.error), testing::HasSubstr("deadline"));
  generator.expect_no_blocks_used();
}

TEST_P(GenerationCoreTest, WhatCouldNeverRunIsRefusedAtOnce) {
  TestGenerator generator({.num_blocks = 4, .depth = GetParam()});
  std::mt19937 random(18);
  EXPECT_THROW(generator.submit(greedy({}, 5)), Error);
  EXPECT_THROW(generator.submit(greedy(random_prompt(random, kMaxSeqLen), 5)), Error);
  EXPECT_THROW(generator.submit(greedy(random_prompt(random, 70), 5)), Error) << "4 blocks of 16";
  GenerationRequest many = greedy(random_prompt(random, 4), 5);
  many.sampling.n = 17;
  EXPECT_THROW(generator.submit(many), Error);
}

TEST_P(GenerationCoreTest, StopFailsTheRest) {
  std::mt19937 random(19);
  TestGenerator generator({.depth = GetParam()});
  std::vector<std::future<Outcome>> open;
  for (int i = 0; i < 20; ++i)
    open.push_back(generator.submit(greedy(random_prompt(random, 60), 120)));
  generator.core().stop();
  int num_failed = 0;
  for (auto& outcome : open) {
    const Outcome ended = outcome.get();
    if (ended.reasons.at(0) != FinishReason::kError) continue;
    ++num_failed;
    EXPECT_THAT(message_of(ended.error), testing::HasSubstr("shutting down"));
  }
  EXPECT_GT(num_failed, 0);
  EXPECT_THROW(generator.submit(greedy({200}, 1)), Error);
  generator.expect_no_blocks_used();
}

}  // namespace
}  // namespace millrace
