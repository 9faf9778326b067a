// The decoders' scheduler by trace, and under random load: every request ends with its own tokens,
// whatever was preempted, and no block leaks.
#include "runtime/decode_scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <sstream>
#include <string>

#include "kernels/kernel_test.h"
#include "support/errors.h"
#include "support/rounds.h"

namespace millrace {
namespace {

using enum BatchSchedulerPolicy;

BlockManagerConfig pool_of(int64_t num_blocks, int64_t block_size = 4) {
  return {.groups = {{.block_size = block_size, .num_blocks = num_blocks}}, .seed = 1};
}

std::shared_ptr<DecodeRequest> request_of(std::vector<int32_t> prompt, int64_t max_new_tokens) {
  auto request = std::make_shared<DecodeRequest>();
  request->prompt = std::move(prompt);
  request->max_new_tokens = max_new_tokens;
  request->handle = std::make_shared<RequestHandle>();
  return request;
}

// --- by trace ------------------------------------------------------------------------------------

// Lines of a trace:  add A 10 3 [n=2] [p=-1]   a request: tokens of prompt and of output; each
//                                              request has tokens of its own, unless "like B"
//                    step A0:0-8 B0:0-3+       the next step, + where a token is sampled; it is
//                                              committed, and what is full then is finished
//                    launch ..., commit        the same in two lines: steps in flight
//                    cancel A, cancel A0, stop A0, free 3 (blocks), waiting 1, running 2
struct Trace {
  std::string name;
  DecodeLimits limits;
  BlockManagerConfig blocks;
  std::vector<std::string> lines;
};

void PrintTo(const Trace& trace, std::ostream* out) {
  *out << trace.name;
}

class TracePlayer {
 public:
  explicit TracePlayer(const Trace& trace)
      : blocks_(trace.blocks), scheduler_(trace.limits, blocks_) {}

  void play(const std::string& line) {
    std::istringstream in(line);
    std::string verb;
    in >> verb;
    std::string rest;
    std::getline(in >> std::ws, rest);
    if (verb == "add") {
      add(rest);
    } else if (verb == "step") {
      launch(rest);
      commit();
    } else if (verb == "launch") {
      launch(rest);
    } else if (verb == "commit") {
      commit();
    } else if (verb == "cancel") {
      RequestHandle& handle = *requests_.at(rest.substr(0, 1))->handle;
      rest.size() > 1 ? handle.cancel(static_cast<size_t>(rest[1] - '0')) : handle.cancel();
      EXPECT_EQ(scheduler_.drop(Clock::now()).size(), rest.size() > 1 ? 0u : 1u);
    } else if (verb == "stop") {
      scheduler_.finish(*requests_.at(rest.substr(0, 1)), static_cast<size_t>(rest[1] - '0'),
                        FinishReason::kStop);
    } else if (verb == "free") {
      EXPECT_EQ(std::to_string(blocks_.num_available(0)), rest);
    } else if (verb == "waiting") {
      EXPECT_EQ(std::to_string(scheduler_.num_waiting()), rest);
    } else if (verb == "running") {
      EXPECT_EQ(std::to_string(scheduler_.num_running()), rest);
    } else {
      FAIL() << "unknown verb " << verb;
    }
    scheduler_.check_integrity();
  }

 private:
  void add(const std::string& text) {
    std::istringstream in(text);
    std::string name;
    int64_t length = 0;
    int64_t max_new_tokens = 0;
    in >> name >> length >> max_new_tokens;
    int32_t first = 1000 * name[0];
    std::string option;
    auto request = request_of({}, max_new_tokens);
    while (in >> option) {
      if (option.starts_with("n=")) request->num_choices = std::stoll(option.substr(2));
      if (option.starts_with("p=")) request->priority = std::stoll(option.substr(2));
      if (option.starts_with("like=")) first = 1000 * option[5];
    }
    for (int64_t i = 0; i < length; ++i) request->prompt.push_back(first++);
    requests_[name] = request;
    scheduler_.check(*request);
    scheduler_.add(request);
  }

  void launch(const std::string& expected) {
    steps_.push_back(scheduler_.next_step());
    std::string text;
    for (const DecodeItem& item : steps_.back().items) {
      text += fmt::format("{}{}{}:{}-{}{}", text.empty() ? "" : " ", name_of(item.request),
                          item.choice, item.begin, item.end, item.num_samples > 0 ? "+" : "");
      if (item.num_samples > 1) text += std::to_string(item.num_samples);
    }
    EXPECT_EQ(text, expected);
  }

  void commit() {
    const DecodeStep step = std::move(steps_.front());
    steps_.pop_front();
    for (const DecodeItem& item : step.items) {
      scheduler_.commit(item, std::vector<int32_t>(static_cast<size_t>(item.num_samples), 7));
      for (size_t choice = 0; choice < item.request->choices.size(); ++choice) {
        if (item.num_samples > 0 && item.request->is_full(choice))
          scheduler_.finish(*item.request, choice, FinishReason::kLength);
      }
    }
  }

  std::string name_of(const std::shared_ptr<DecodeRequest>& request) const {
    for (const auto& [name, known] : requests_)
      if (known == request) return name;
    return "?";
  }

  BlockManager blocks_;
  DecodeScheduler scheduler_;
  std::map<std::string, std::shared_ptr<DecodeRequest>> requests_;
  std::deque<DecodeStep> steps_;
};

DecodeLimits limits_of(int64_t tokens, int64_t sequences, BatchSchedulerPolicy policy) {
  return {.max_num_tokens = tokens,
          .max_batch_size = sequences,
          .max_seq_len = 64,
          .total_token_limit = 1000,
          .policy = policy};
}

DecodeLimits with_total(int64_t tokens, DecodeLimits limits) {
  limits.total_token_limit = tokens;
  return limits;
}

DecodeLimits overlapped(DecodeLimits limits) {
  limits.max_steps_in_flight = 2;
  return limits;
}

const std::vector<Trace> kTraces = {
    {"a_request_from_prompt_to_end",
     limits_of(8, 4, kGuaranteedNoEvict),
     pool_of(8),
     {"add A 3 3", "step A0:0-3+", "step A0:3-4+", "step A0:4-5+", "running 0", "free 8", "step"}},
    {"a_prompt_comes_in_chunks_behind_decodes",
     limits_of(8, 4, kGuaranteedNoEvict),
     pool_of(16),
     {"add A 2 9", "step A0:0-2+", "add B 18 3", "step A0:2-3+ B0:0-7", "step A0:3-4+ B0:7-14",
      "add C 2 2", "step A0:4-5+ B0:14-18+ C0:0-2+", "step A0:5-6+ B0:18-19+ C0:2-3+"}},
    {"the_batch_is_full",
     limits_of(8, 2, kGuaranteedNoEvict),
     pool_of(16),
     {"add A 2 2", "add B 2 3", "add C 2 2", "step A0:0-2+ B0:0-2+", "waiting 1",
      "step A0:2-3+ B0:2-3+", "step B0:3-4+ C0:0-2+"}},
    {"only_what_can_finish_is_admitted",
     limits_of(16, 4, kGuaranteedNoEvict),
     pool_of(5),
     {"add A 4 9", "add B 4 6", "step A0:0-4+", "waiting 1", "step A0:4-5+", "stop A0",
      "step B0:0-4+"}},
    {"what_ends_makes_room",
     limits_of(16, 4, kGuaranteedNoEvict),
     pool_of(6),
     {"add A 4 1", "add B 4 9", "add C 4 9", "step A0:0-4+ B0:0-4+", "step B0:4-5+ C0:0-4+"}},
    {"nothing_overtakes_what_does_not_fit",
     limits_of(16, 4, kGuaranteedNoEvict),
     pool_of(5),
     {"add A 4 9", "add B 8 6", "add C 1 1", "step A0:0-4+", "waiting 2"}},
    {"priority_goes_before_arrival",
     limits_of(16, 1, kGuaranteedNoEvict),
     pool_of(8),
     {"add A 2 2", "add B 2 1 p=-1", "step B0:0-2+", "step A0:0-2+"}},
    {"all_running_tokens_have_a_limit",
     with_total(20, limits_of(16, 4, kGuaranteedNoEvict)),
     pool_of(32),
     {"add A 4 9", "add B 4 6", "step A0:0-4+", "stop A0", "step B0:0-4+"}},
    {"more_than_the_total_limit_runs_alone",
     with_total(5, limits_of(16, 4, kGuaranteedNoEvict)),
     pool_of(32),
     {"add A 4 9", "add B 1 1", "step A0:0-4+", "step A0:4-5+"}},
    {"the_last_one_is_preempted_and_computed_again",
     limits_of(16, 4, kMaxUtilization),
     pool_of(4),
     {"add A 4 9", "add B 4 6", "step A0:0-4+ B0:0-4+", "free 2", "step A0:4-5+ B0:4-5+", "free 0",
      "step A0:5-6+ B0:5-6+", "step A0:6-7+ B0:6-7+", "step A0:7-8+ B0:7-8+", "step A0:8-9+",
      "waiting 1", "free 1", "step A0:9-10+", "step A0:10-11+", "step A0:11-12+", "running 0",
      "step B0:4-9+", "running 0", "free 4"}},
    {"the_urgent_one_is_not_preempted",
     limits_of(16, 4, kMaxUtilization),
     pool_of(4),
     {"add A 8 9", "step A0:0-8+", "add B 4 6 p=-1", "step A0:8-9+", "cancel A", "step B0:0-4+"}},
    {"choices_begin_with_their_prompt",
     limits_of(16, 4, kGuaranteedNoEvict),
     pool_of(16),
     {"add A 6 3 n=3", "add B 2 2 n=2", "step A0:0-6+3", "running 3", "free 14",
      "step A0:6-7+ A1:6-7+ A2:6-7+", "free 12", "stop A1", "step A0:7-8+ A2:7-8+ B0:0-2+2",
      "step B0:2-3+ B1:2-3+", "running 0", "free 16"}},
    {"a_cancelled_request_gives_its_blocks_back_at_once",
     limits_of(16, 4, kGuaranteedNoEvict),
     pool_of(4),
     {"add A 6 9 n=1", "add B 6 9", "step A0:0-6+", "cancel A", "free 4", "step B0:0-6+"}},
    {"a_choice_that_is_cancelled_leaves_the_others_alone",
     limits_of(16, 4, kGuaranteedNoEvict),
     pool_of(16),
     {"add A 6 4 n=2", "step A0:0-6+2", "step A0:6-7+ A1:6-7+", "cancel A1", "running 1",
      "step A0:7-8+", "step A0:8-9+", "running 0", "free 16"}},
    {"a_prefix_is_computed_once",
     limits_of(16, 4, kGuaranteedNoEvict),
     pool_of(16),
     {"add A 9 9", "step A0:0-9+", "add B 10 2 like=A", "step A0:9-10+ B0:8-10+"}},
    {"a_step_is_scheduled_before_the_last_is_known",
     overlapped(limits_of(16, 4, kGuaranteedNoEvict)),
     pool_of(16),
     {"add A 3 3", "launch A0:0-3+", "launch A0:3-4+", "commit", "launch A0:4-5+", "commit",
      "launch ", "commit", "running 0", "commit"}},
    {"what_stops_late_loses_a_step_in_flight",
     overlapped(limits_of(16, 4, kGuaranteedNoEvict)),
     pool_of(16),
     {"add A 3 9", "launch A0:0-3+", "launch A0:3-4+", "commit", "stop A0", "free 16", "launch ",
      "commit", "running 0"}},
};

class DecodeSchedulerTrace : public testing::TestWithParam<Trace> {};

TEST_P(DecodeSchedulerTrace, Plays) {
  TracePlayer player(GetParam());
  for (const std::string& line : GetParam().lines) {
    SCOPED_TRACE(line);
    player.play(line);
  }
}

INSTANTIATE_TEST_SUITE_P(All, DecodeSchedulerTrace, testing::ValuesIn(kTraces),
                         [](const auto& test) { return test.param.name; });

// --- refusals ------------------------------------------------------------------------------------

TEST(DecodeScheduler, WhatCanNeverRunIsRefused) {
  BlockManager blocks(pool_of(4));
  DecodeLimits limits = limits_of(16, 4, kGuaranteedNoEvict);
  limits.max_seq_len = 32;
  const DecodeScheduler scheduler(limits, blocks);
  const auto refused = [&](int64_t length, int64_t max_new_tokens, int64_t num_choices) {
    auto request = request_of(std::vector<int32_t>(static_cast<size_t>(length), 1), max_new_tokens);
    request->num_choices = num_choices;
    try {
      scheduler.check(*request);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused(0, 1, 1));
  EXPECT_TRUE(refused(1, 0, 1));
  EXPECT_TRUE(refused(1, 1, 0));
  EXPECT_TRUE(refused(1, 1, 5));
  EXPECT_TRUE(refused(32, 1, 1));
  EXPECT_FALSE(refused(16, 1, 1)) << "the last token's KV is not stored";
  EXPECT_TRUE(refused(17, 1, 1));
  EXPECT_TRUE(refused(16, 2, 1));
  EXPECT_TRUE(refused(4, 5, 4));
  EXPECT_FALSE(refused(4, 5, 3));
}

TEST(DecodeScheduler, ADeadlineEndsARequest) {
  BlockManager blocks(pool_of(4));
  DecodeScheduler scheduler(limits_of(16, 4, kGuaranteedNoEvict), blocks);
  const auto request = request_of({1, 2}, 3);
  const Clock::time_point now = Clock::now();
  request->deadline = now;
  scheduler.add(request);
  EXPECT_TRUE(scheduler.drop(now).empty());
  EXPECT_EQ(scheduler.drop(now + std::chrono::seconds(1)).size(), 1u);
  EXPECT_EQ(request->choices[0].finish_reason, FinishReason::kTimeout);
  EXPECT_TRUE(scheduler.empty());
}

// --- random load ---------------------------------------------------------------------------------

// A model whose next token depends on all tokens before it and on the choice.
int32_t next_token(std::span<const int32_t> tokens, size_t choice) {
  uint64_t hash = choice + 1;
  for (const int32_t token : tokens)
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x2545f4914f6cdd1d + 1;
  return static_cast<int32_t>(hash >> 60);
}

class Load {
 public:
  Load(cpu::Random& random, BatchSchedulerPolicy policy) : random_(random) {
    limits_ = limits_of(draw(8, 40), draw(1, 8), policy);
    limits_.total_token_limit = draw(1, 300);
    limits_.chunked_prefill = draw(0, 3) > 0;
    limits_.max_steps_in_flight = draw(1, 3);
    limits_.max_prompt_logits = draw(1, 8);
    BlockManagerConfig config{.seed = 1};
    for (int64_t i = draw(1, 2); i > 0; --i)
      config.groups.push_back({.block_size = int64_t{1} << draw(0, 3),
                               .num_blocks = draw(12, 40),
                               .num_host_blocks = draw(0, 1) * draw(1, 20),
                               .window = draw(0, 1) * draw(1, 20)});
    blocks_ = std::make_unique<BlockManager>(config);
    scheduler_ = std::make_unique<DecodeScheduler>(limits_, *blocks_);
  }

  void run(int num_requests) {
    int idle = 0;
    while (num_requests > 0 || !scheduler_->empty()) {
      for (int64_t i = draw(0, 2); i > 0 && num_requests > 0; --i, --num_requests) add();
      if (!active_.empty() && draw(0, 30) == 0) pick().handle->cancel();
      if (!active_.empty() && draw(0, 60) == 0) pick().deadline = Clock::time_point{};
      for (const auto& request : scheduler_->drop(Clock::now()))
        ASSERT_TRUE(request->is_finished());
      scheduler_->check_integrity();
      const bool was_empty = scheduler_->empty();
      launch();
      while (static_cast<int64_t>(steps_.size()) >= limits_.max_steps_in_flight ||
             (!steps_.empty() && steps_.back().empty()))
        commit();
      if (testing::Test::HasFailure()) return;
      idle = progressed_ || was_empty ? 0 : idle + 1;
      ASSERT_LT(idle, 10) << "nothing moves";
    }
    while (!steps_.empty()) commit();
    for (size_t g = 0; g < blocks_->num_groups(); ++g)
      ASSERT_EQ(blocks_->num_available(g), blocks_->group_config(g).num_blocks);
    for (const auto& request : all_) check_end(*request);
  }

  uint64_t num_preemptions() const { return scheduler_->num_preemptions(); }

 private:
  int64_t draw(int64_t least, int64_t most) { return random_.integer(least, most); }
  DecodeRequest& pick() {
    return *active_[static_cast<size_t>(draw(0, static_cast<int64_t>(active_.size()) - 1))];
  }

  void add() {
    std::vector<int32_t> prompt(static_cast<size_t>(draw(1, 30)));
    for (int32_t& token : prompt) token = draw(0, 9) == 0 ? 1 : 0;
    auto request = request_of(prompt, draw(1, 20));
    request->num_choices = draw(1, std::min<int64_t>(3, limits_.max_batch_size));
    request->priority = draw(0, 2);
    request->prompt_logits = draw(0, 9) == 0;
    try {
      scheduler_->check(*request);
    } catch (const Error&) {
      return;
    }
    scheduler_->add(request);
    all_.push_back(request);
    active_.push_back(request);
  }

  void launch() {
    DecodeStep step = scheduler_->next_step();
    scheduler_->check_integrity();
    int64_t num_tokens = 0;
    for (const DecodeItem& item : step.items) {
      num_tokens += item.end - item.begin;
      ASSERT_LT(item.begin, item.end);
      ASSERT_EQ(item.end, blocks_->num_tokens(item.blocks));
      ASSERT_GE(item.begin, blocks_->num_committed(item.blocks));
    }
    ASSERT_EQ(num_tokens, step.num_tokens);
    ASSERT_LE(num_tokens, limits_.max_num_tokens);
    ASSERT_LE(static_cast<int64_t>(step.items.size()), limits_.max_batch_size);
    ASSERT_LE(step.num_prompt_logits, limits_.max_prompt_logits);
    progressed_ = !step.empty();
    steps_.push_back(std::move(step));
  }

  void commit() {
    const DecodeStep step = std::move(steps_.front());
    steps_.pop_front();
    for (const DecodeItem& item : step.items) {
      std::vector<int32_t> sampled;
      for (size_t i = 0; i < static_cast<size_t>(item.num_samples); ++i)
        sampled.push_back(next_token(item.sequence().tokens, item.choice + i));
      std::vector<int>& told = told_[item.request.get()];
      told.resize(item.request->prompt.size());
      for (int64_t i = item.logits_begin; i < item.logits_end; ++i)
        if (item.sequence().state != DecodeSequence::State::kFinished &&
            i >= item.request->num_prompt_logits)
          ++told[static_cast<size_t>(i)];
      scheduler_->commit(item, sampled);
      for (size_t choice = 0; choice < item.request->choices.size(); ++choice) {
        const DecodeSequence& sequence = item.request->choices[choice];
        if (sampled.empty() || sequence.tokens.size() <= item.request->prompt.size()) continue;
        if (sequence.tokens.back() == 15) {
          scheduler_->finish(*item.request, choice, FinishReason::kStop);
        } else if (item.request->is_full(choice)) {
          scheduler_->finish(*item.request, choice, FinishReason::kLength);
        }
      }
      scheduler_->check_integrity();
    }
    std::erase_if(active_, [](const auto& request) { return request->is_finished(); });
  }

  // The tokens are what the model says alone, as far as the request came.
  void check_end(const DecodeRequest& request) {
    ASSERT_TRUE(request.is_finished());
    for (size_t choice = 0; choice < request.choices.size(); ++choice) {
      const DecodeSequence& sequence = request.choices[choice];
      const bool given_up = sequence.finish_reason == FinishReason::kCancelled ||
                            sequence.finish_reason == FinishReason::kTimeout;
      ASSERT_TRUE(given_up || sequence.finish_reason == FinishReason::kStop ||
                  sequence.finish_reason == FinishReason::kLength);
      std::vector<int32_t> expected = request.prompt;
      while (static_cast<int64_t>(expected.size()) < request.max_num_tokens &&
             (expected.size() == request.prompt.size() || expected.back() != 15))
        expected.push_back(next_token(expected, choice));
      if (given_up) expected.resize(sequence.tokens.size());
      ASSERT_EQ(sequence.tokens, expected);
      if (given_up || !request.prompt_logits) continue;
      // Each token of the prompt was told of once, by the position before it.
      std::vector<int> once(request.prompt.size(), 1);
      once.back() = 0;
      ASSERT_EQ(told_.at(&request), once);
    }
  }

  cpu::Random& random_;
  DecodeLimits limits_;
  std::unique_ptr<BlockManager> blocks_;
  std::unique_ptr<DecodeScheduler> scheduler_;
  std::vector<std::shared_ptr<DecodeRequest>> all_;
  std::vector<std::shared_ptr<DecodeRequest>> active_;
  std::map<const DecodeRequest*, std::vector<int>> told_;  // how often, by position
  std::deque<DecodeStep> steps_;
  bool progressed_ = false;
};

class DecodeSchedulerLoad : public testing::TestWithParam<BatchSchedulerPolicy> {};

TEST_P(DecodeSchedulerLoad, EveryRequestEndsWithItsOwnTokens) {
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  uint64_t num_preemptions = 0;
  for (int i = 0; i < test::rounds(200) && !HasFailure(); ++i) {
    Load load(random, GetParam());
    load.run(100);
    num_preemptions += load.num_preemptions();
  }
  EXPECT_EQ(num_preemptions > 0, GetParam() == kMaxUtilization);
}

INSTANTIATE_TEST_SUITE_P(Policies, DecodeSchedulerLoad,
                         testing::Values(kGuaranteedNoEvict, kMaxUtilization),
                         [](const auto& test) {
                           return test.param == kMaxUtilization ? "max_utilization"
                                                                : "guaranteed_no_evict";
                         });

}  // namespace
}  // namespace millrace
