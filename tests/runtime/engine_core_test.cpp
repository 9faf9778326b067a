// EngineCore's promises to those who submit: every answer once and right, whatever others do.
#include "runtime/engine_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "kernels/kernel_test.h"
#include "runtime/fake_model.h"
#include "support/errors.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto kEver = 24h;  // more patience than any test has

// Returns once the condition holds. A test that waits in vain is ended by its runner.
template <typename Condition>
void await(const Condition& condition) {
  while (!condition()) std::this_thread::sleep_for(100us);
}

Sequence sequence_of(int32_t first, int64_t length = 1) {
  std::vector<int32_t> ids(static_cast<size_t>(length), 7);
  ids.front() = first;
  return {.token_ids = ids, .token_type_ids = std::vector<int32_t>(ids.size(), 0)};
}

// The answers of a test's requests, by number.
class Answers {
 public:
  Request request(int number, std::vector<Sequence> sequences) {
    return {.sequences = std::move(sequences), .on_done = [this, number](RequestResult result) {
              const std::lock_guard lock(mutex_);
              results_[number].push_back(std::move(result));
            }};
  }

  size_t count(int number) const {
    const std::lock_guard lock(mutex_);
    const auto found = results_.find(number);
    return found == results_.end() ? 0 : found->second.size();
  }

  RequestResult get(int number) const {
    await([&] { return count(number) > 0; });
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(results_.at(number).size(), 1u) << "request " << number << " was answered twice";
    return results_.at(number).front();
  }

 private:
  mutable std::mutex mutex_;
  std::map<int, std::vector<RequestResult>> results_;
};

std::string error_text(const RequestResult& result) {
  if (!result.error) return "";
  EXPECT_THAT(result.rows, IsEmpty());
  try {
    std::rethrow_exception(result.error);
  } catch (const std::exception& error) {
    return error.what();
  } catch (int number) {
    return std::to_string(number);
  }
}

std::optional<ErrorCode> error_code(const RequestResult& result) {
  if (!result.error) return std::nullopt;
  try {
    std::rethrow_exception(result.error);
  } catch (const Error& error) {
    return error.code();
  } catch (...) {
    return std::nullopt;
  }
}

class EngineCoreTest : public testing::Test {
 protected:
  static constexpr int64_t kMaxTokens = 64;

  void start(int64_t max_num_sequences) {
    engine = std::make_unique<EngineCore>(fake_runner(pool_, kMaxTokens, model),
                                          StepLimits{.max_num_tokens = kMaxTokens,
                                                     .max_num_sequences = max_num_sequences,
                                                     .max_seq_len = 32});
  }

  std::shared_ptr<RequestHandle> submit(int number, std::vector<Sequence> sequences) {
    return engine->submit(answers.request(number, std::move(sequences)));
  }

  // A request in a step that goes on when the gate opens.
  std::shared_ptr<RequestHandle> submit_waiting(int number, std::vector<Sequence> more = {}) {
    more.insert(more.begin(), sequence_of(FakeModel::kWaits));
    auto handle = submit(number, std::move(more));
    model->gate.await_arrival();
    return handle;
  }

  // Nothing is left of any request; the rest of a failed one goes with the step after its failure.
  void await_idle() {
    await([&] {
      const EngineStats stats = engine->stats();
      return stats.num_requests == 0 && stats.num_waiting_tokens == 0;
    });
  }

  std::vector<int32_t> seen() {
    const std::lock_guard lock(model->mutex);
    return model->seen;
  }

  std::shared_ptr<FakeModel::State> model = std::make_shared<FakeModel::State>();
  Answers answers;
  std::unique_ptr<EngineCore> engine;

 private:
  ThreadPool pool_{1};
};

// --- answers -------------------------------------------------------------------------------------

TEST_F(EngineCoreTest, AnswersManyThreadsOnceAndRight) {
  constexpr int kThreads = 4;
  constexpr int kRequests = 300;
  start(8);
  const cpu::Random seed;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(seed.seed()));
  std::vector<std::vector<std::vector<int64_t>>> lengths(kThreads);
  uint64_t num_sequences = 0;
  uint64_t num_tokens = 0;
  cpu::Random random;
  for (auto& of_thread : lengths) {
    for (int i = 0; i < kRequests; ++i) {
      auto& of_request =
          of_thread.emplace_back(static_cast<size_t>(random.integer(1, i % 50 == 0 ? 40 : 4)));
      for (int64_t& length : of_request) {
        length = random.integer(1, 32);
        ++num_sequences;
        num_tokens += static_cast<uint64_t>(length);
      }
    }
  }
  const auto first_token = [](int number, size_t sequence) {
    return static_cast<int32_t>(static_cast<size_t>(number) * 64 + sequence);
  };
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < kRequests; ++i) {
        const int number = t * kRequests + i;
        const auto& of_request = lengths[static_cast<size_t>(t)][static_cast<size_t>(i)];
        std::vector<Sequence> sequences;
        for (size_t s = 0; s < of_request.size(); ++s)
          sequences.push_back(sequence_of(first_token(number, s), of_request[s]));
        submit(number, std::move(sequences));
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (int number = 0; number < kThreads * kRequests; ++number) {
    const RequestResult result = answers.get(number);
    const auto& of_request =
        lengths[static_cast<size_t>(number / kRequests)][static_cast<size_t>(number % kRequests)];
    ASSERT_EQ(error_text(result), "");
    ASSERT_EQ(result.width, FakeModel::kWidth);
    ASSERT_EQ(result.rows.size(), of_request.size() * FakeModel::kWidth);
    for (size_t s = 0; s < of_request.size(); ++s) {
      const auto token = static_cast<float>(first_token(number, s));
      EXPECT_THAT(result.row(s), ElementsAre(token, of_request[s] == 1 ? token : 7.0f,
                                             static_cast<float>(of_request[s])));
    }
  }
  await_idle();
  for (int number = 0; number < kThreads * kRequests; ++number)
    ASSERT_EQ(answers.count(number), 1u) << number;
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.num_sequences, num_sequences);
  EXPECT_EQ(stats.num_tokens, num_tokens);
  EXPECT_EQ(stats.num_steps, static_cast<uint64_t>(model->num_steps));
  EXPECT_EQ(stats.num_failed_steps, 0u);
}

TEST_F(EngineCoreTest, AnAnswerMaySubmitTheNextRequest) {
  start(4);
  Request first;
  first.sequences = {sequence_of(1)};
  first.on_done = [&](RequestResult) { submit(2, {sequence_of(2)}); };
  engine->submit(std::move(first));
  EXPECT_THAT(answers.get(2).rows, ElementsAre(2, 2, 1));
}

TEST_F(EngineCoreTest, TellsHowLongThePartsTook) {
  start(1);
  const auto begin = Clock::now();
  submit_waiting(1);
  submit(2, {sequence_of(2), sequence_of(3)});
  std::this_thread::sleep_for(2ms);
  model->gate.open();
  const RequestTimings waited = answers.get(2).timings;
  const auto all = Clock::now() - begin;
  EXPECT_GE(waited.queue, 2ms);
  EXPECT_GT(waited.compute, 0ms);
  EXPECT_LE(waited.queue + waited.compute, all);
  EXPECT_GE(answers.get(1).timings.compute, 2ms);
}

TEST_F(EngineCoreTest, RefusesWhatNoStepCanHold) {
  start(4);
  EXPECT_THROW(submit(1, {}), InternalError);
  EXPECT_THROW(submit(1, {sequence_of(1, 33)}), InternalError);
  EXPECT_THROW(submit(1, {sequence_of(1), {}}), InternalError);
  Sequence uneven = sequence_of(1, 5);
  uneven.token_type_ids.pop_back();
  EXPECT_THROW(submit(1, {uneven}), InternalError);
  EXPECT_EQ(engine->stats().num_requests, 0u);
}

// --- cancelling ----------------------------------------------------------------------------------

TEST_F(EngineCoreTest, ARequestCancelledBeforeItsStepNeverRuns) {
  start(1);
  submit_waiting(1);
  submit(2, {sequence_of(2), sequence_of(3)})->cancel();
  submit(4, {sequence_of(4)});
  model->gate.open();
  answers.get(4);
  await_idle();
  EXPECT_THAT(seen(), ElementsAre(FakeModel::kWaits, 4));
  EXPECT_EQ(answers.count(2), 0u);
  EXPECT_EQ(answers.count(1), 1u);
}

TEST_F(EngineCoreTest, ARequestCancelledInItsStepIsNotAnsweredAndItsRestNeverRuns) {
  start(1);
  submit_waiting(1, {sequence_of(2)})->cancel();
  model->gate.open();
  submit(3, {sequence_of(3)});
  answers.get(3);
  await_idle();
  EXPECT_THAT(seen(), ElementsAre(FakeModel::kWaits, 3));
  EXPECT_EQ(answers.count(1), 0u);
}

TEST_F(EngineCoreTest, CancellingLateOrTwiceDoesNothing) {
  start(1);
  const auto handle = submit(1, {sequence_of(1)});
  answers.get(1);
  handle->cancel();
  handle->cancel();
  submit(2, {sequence_of(2)});
  answers.get(2);
  await_idle();
  EXPECT_EQ(answers.count(1), 1u);
}

TEST_F(EngineCoreTest, CancellingAtAnyTimeLeavesNothingBehind) {
  start(3);
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  std::vector<std::shared_ptr<RequestHandle>> handles;
  for (int number = 0; number < 400; ++number) {
    handles.push_back(submit(number, {sequence_of(1, 9), sequence_of(2, 3), sequence_of(3)}));
    if (random.integer(0, 2) == 0)
      handles[static_cast<size_t>(random.integer(0, number))]->cancel();
  }
  await_idle();
  for (int number = 0; number < 400; ++number) {
    if (handles[static_cast<size_t>(number)]->cancelled())
      EXPECT_LE(answers.count(number), 1u);
    else
      EXPECT_EQ(answers.count(number), 1u);
  }
}

// --- failures ------------------------------------------------------------------------------------

TEST_F(EngineCoreTest, ARequestPastItsDeadlineIsToldAndItsRestNeverRuns) {
  start(1);
  submit_waiting(1);
  Request late = answers.request(2, {sequence_of(2), sequence_of(3)});
  late.deadline = Clock::now();
  engine->submit(std::move(late));
  Request early = answers.request(4, {sequence_of(4)});
  early.deadline = Clock::now() + kEver;
  engine->submit(std::move(early));
  std::this_thread::sleep_for(1ms);
  model->gate.open();
  EXPECT_EQ(error_code(answers.get(2)), ErrorCode::kCancelled);
  EXPECT_EQ(error_code(answers.get(4)), std::nullopt);
  await_idle();
  EXPECT_THAT(seen(), ElementsAre(FakeModel::kWaits, 4));
}

// Patience for those just answered lasts an eighth of a step: here 10 ms, which a busy machine can
// miss.
TEST_F(EngineCoreTest, AClientThatAsksAgainAtOnceSharesTheStepOfThoseWhoWait) {
  bool shared = false;
  for (int first = 1; first <= 30 && !shared; first += 3) {
    model = std::make_shared<FakeModel::State>();
    start(8);
    submit_waiting(first);
    submit(first + 1, {sequence_of(2)});
    std::this_thread::sleep_for(80ms);
    model->gate.open();
    answers.get(first);
    submit(first + 2, {sequence_of(3)});
    await_idle();
    shared = engine->stats().num_steps == 2;
  }
  EXPECT_TRUE(shared);
}

// Requests for vectors and for tokens share the steps; each gets its own rows.
TEST_F(EngineCoreTest, GivesARowForEveryTokenWhereThatIsAsked) {
  start(2);
  Request tokens = answers.request(1, {sequence_of(5, 2), sequence_of(6), sequence_of(8, 3)});
  tokens.output = OutputKind::kTokens;
  engine->submit(std::move(tokens));
  submit(2, {sequence_of(9, 4)});
  const RequestResult result = answers.get(1);
  EXPECT_THAT(result.first_row, ElementsAre(0u, 2u, 3u, 6u));
  EXPECT_EQ(result.width, FakeModel::kWidth);
  std::vector<float> firsts;
  for (size_t i = 0; i < 6; ++i) firsts.push_back(result.row(i)[1]);
  EXPECT_THAT(firsts, ElementsAre(5, 7, 6, 8, 7, 7));
  EXPECT_THAT(answers.get(2).first_row, ElementsAre(0u, 1u));
  EXPECT_THAT(answers.get(2).rows, ElementsAre(9, 7, 4));
}

TEST_F(EngineCoreTest, AStepThatThrowsFailsItsOwnRequestsAndTheLoopGoesOn) {
  start(1);
  submit_waiting(1);
  submit(2, {sequence_of(FakeModel::kThrows), sequence_of(20), sequence_of(21)});
  submit(3, {sequence_of(3)});
  submit(4, {sequence_of(FakeModel::kThrowsANumber)});
  submit(5, {sequence_of(5)});
  submit(6, {sequence_of(FakeModel::kLosesRows)});
  submit(7, {sequence_of(7)});
  model->gate.open();
  EXPECT_EQ(error_text(answers.get(2)), "as the test asked");
  EXPECT_EQ(error_text(answers.get(4)), "42");
  EXPECT_THAT(error_text(answers.get(6)), testing::HasSubstr("1 sequences"));
  for (const int number : {1, 3, 5, 7}) EXPECT_EQ(error_text(answers.get(number)), "") << number;
  await_idle();
  EXPECT_THAT(seen(), testing::Not(testing::Contains(20))) << "the rest of a failed request ran";
  EXPECT_EQ(engine->stats().num_failed_steps, 3u);
  EXPECT_TRUE(engine->healthy(0ms));
}

TEST_F(EngineCoreTest, AThrowingStepFailsAllOfItsRequestsOnce) {
  start(8);
  submit_waiting(1);
  submit(2, {sequence_of(2), sequence_of(3)});
  submit(4, {sequence_of(FakeModel::kThrows)});
  model->gate.open();
  EXPECT_EQ(error_text(answers.get(2)), "as the test asked");
  EXPECT_EQ(error_text(answers.get(4)), "as the test asked");
  await_idle();
  EXPECT_EQ(answers.count(2), 1u);
}

TEST_F(EngineCoreTest, RowsThatAreNotFiniteFailTheirOwnRequestOnly) {
  start(8);
  submit_waiting(1);
  submit(2, {sequence_of(2), sequence_of(FakeModel::kGivesNaN), sequence_of(20)});
  submit(3, {sequence_of(3)});
  submit(4, {sequence_of(FakeModel::kGivesInfinity)});
  submit(5, {sequence_of(5)});
  model->gate.open();
  for (const int number : {2, 4}) {
    EXPECT_THAT(error_text(answers.get(number)), testing::HasSubstr("not a finite number"));
  }
  for (const int number : {1, 3, 5}) EXPECT_EQ(error_text(answers.get(number)), "") << number;
  await_idle();
  EXPECT_EQ(answers.count(2), 1u);
  EXPECT_EQ(engine->stats().num_failed_steps, 0u);
}

TEST_F(EngineCoreTest, AnAnswerThatCannotBeHandedOverDoesNoHarm) {
  start(8);
  Request throwing{.sequences = {sequence_of(1)},
                   .on_done = [](RequestResult) { throw std::runtime_error("gone"); }};
  Request throwing_number{.sequences = {sequence_of(2)}, .on_done = [](RequestResult) { throw 1; }};
  Request without{.sequences = {sequence_of(3)}};
  engine->submit(std::move(throwing));
  engine->submit(std::move(throwing_number));
  engine->submit(std::move(without));
  submit(4, {sequence_of(4)});
  EXPECT_EQ(error_text(answers.get(4)), "");
  await_idle();
  EXPECT_EQ(engine->stats().num_failed_steps, 0u);
}

// --- devices that work on their own --------------------------------------------------------------

class TwoStepsTest : public EngineCoreTest {
 protected:
  void start_two_steps() {
    const int64_t bytes = 2 * (kMaxTokens * FakeModel::kWidth * 4 + Arena::kAlignment);
    auto runner = std::make_unique<ModelRunner>(
        std::make_unique<TwoStepOps>(pool_, Buffer::host(bytes), most_in_flight),
        std::make_unique<FakeModel>(model));
    engine = std::make_unique<EngineCore>(
        std::move(runner),
        StepLimits{.max_num_tokens = kMaxTokens, .max_num_sequences = 1, .max_seq_len = 32},
        [this] { ++num_lost; });
  }

  std::shared_ptr<std::atomic<int>> most_in_flight = std::make_shared<std::atomic<int>>(0);
  std::atomic<int> num_lost{0};

 private:
  ThreadPool pool_{1};
};

TEST_F(TwoStepsTest, TheNextStepIsLaunchedBeforeTheLastIsCollected) {
  start_two_steps();
  submit_waiting(1);
  for (int number = 2; number < 40; ++number) submit(number, {sequence_of(number)});
  model->gate.open();
  for (int number = 2; number < 40; ++number)
    EXPECT_EQ(answers.get(number).rows[0], static_cast<float>(number));
  await_idle();
  EXPECT_EQ(*most_in_flight, 2);
  submit(50, {sequence_of(50)});  // alone: nothing to wait for but itself
  EXPECT_EQ(answers.get(50).rows[0], 50.0f);
}

TEST_F(TwoStepsTest, AStepThatCannotBeLaunchedLeavesTheOneInFlightAlone) {
  start_two_steps();
  submit_waiting(1);
  submit(2, {sequence_of(2)});
  submit(3, {sequence_of(FakeModel::kThrows)});
  submit(4, {sequence_of(4)});
  model->gate.open();
  EXPECT_EQ(error_text(answers.get(3)), "as the test asked");
  EXPECT_EQ(answers.get(2).rows[0], 2.0f);
  EXPECT_EQ(answers.get(4).rows[0], 4.0f);
}

TEST_F(TwoStepsTest, StopAnswersWhatIsInFlight) {
  start_two_steps();
  submit_waiting(1);
  std::thread stopper([&] { engine->stop(); });
  await([&] { return !engine->healthy(kEver); });
  model->gate.open();
  stopper.join();
  EXPECT_EQ(error_text(answers.get(1)), "");
}

TEST_F(TwoStepsTest, ALostDeviceFailsEverythingOnceAndIsTold) {
  start_two_steps();
  submit_waiting(1);
  submit(2, {sequence_of(FakeModel::kLosesDevice)});
  submit(3, {sequence_of(3)});
  EXPECT_TRUE(engine->healthy(kEver));
  model->gate.open();
  EXPECT_EQ(error_code(answers.get(2)), ErrorCode::kUnavailable);
  EXPECT_EQ(error_code(answers.get(3)), ErrorCode::kUnavailable);
  await([&] { return num_lost > 0; });
  EXPECT_FALSE(engine->healthy(kEver));
  const Error refused = test::error_of([&] { submit(4, {sequence_of(4)}); });
  EXPECT_EQ(refused.code(), ErrorCode::kUnavailable);
  EXPECT_THAT(refused.message(), testing::HasSubstr("GPU failed"));
  engine->stop();
  EXPECT_EQ(num_lost, 1);
}

// --- the end -------------------------------------------------------------------------------------

TEST_F(EngineCoreTest, StopFinishesTheStepInWorkAndFailsTheRest) {
  start(1);
  submit_waiting(1);
  submit(2, {sequence_of(2)});
  submit(3, {sequence_of(3), sequence_of(4)});
  submit(5, {sequence_of(5)})->cancel();
  std::thread stopper([&] { engine->stop(); });
  await([&] { return !engine->healthy(kEver); });
  try {
    submit(6, {sequence_of(6)});
    ADD_FAILURE() << "accepted after stop()";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  }
  EXPECT_EQ(answers.count(2), 0u) << "failed before the step in work had ended";
  model->gate.open();
  stopper.join();
  EXPECT_EQ(error_text(answers.get(1)), "");
  EXPECT_EQ(error_code(answers.get(2)), ErrorCode::kUnavailable);
  EXPECT_EQ(error_code(answers.get(3)), ErrorCode::kUnavailable);
  EXPECT_EQ(answers.count(5), 0u);
  EXPECT_THAT(seen(), ElementsAre(FakeModel::kWaits));
  EXPECT_EQ(engine->stats().num_requests, 0u);
  EXPECT_EQ(engine->stats().num_waiting_tokens, 0);
}

TEST_F(EngineCoreTest, ARequestHalfDoneFailsAtTheEnd) {
  start(1);
  submit_waiting(1, {sequence_of(2)});
  std::thread stopper([&] { engine->stop(); });
  await([&] { return !engine->healthy(kEver); });
  model->gate.open();
  stopper.join();
  EXPECT_EQ(error_code(answers.get(1)), ErrorCode::kUnavailable);
}

TEST_F(EngineCoreTest, ManyMayStopAndSubmitAtOnce) {
  start(4);
  std::atomic<int> num_accepted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      try {
        for (int i = 0; i < 1'000'000; ++i) {
          submit(t, {sequence_of(1), sequence_of(2)});
          ++num_accepted;
        }
      } catch (const Error&) {
      }
    });
  }
  await([&] { return num_accepted > 100; });
  for (int t = 0; t < 2; ++t) threads.emplace_back([&] { engine->stop(); });
  for (std::thread& thread : threads) thread.join();
  engine->stop();
  EXPECT_EQ(answers.count(0) + answers.count(1) + answers.count(2),
            static_cast<size_t>(num_accepted));
  EXPECT_EQ(engine->stats().num_requests, 0u);
}

// --- what it tells about itself ------------------------------------------------------------------

TEST_F(EngineCoreTest, IsUnhealthyWhileAStepHangsAndWorkWaits) {
  start(1);
  EXPECT_TRUE(engine->healthy(0ms)) << "idle since the start";
  submit_waiting(1);
  submit(2, {sequence_of(2)});
  std::this_thread::sleep_for(1ms);
  EXPECT_FALSE(engine->healthy(0ms));
  EXPECT_TRUE(engine->healthy(kEver));
  model->gate.open();
  answers.get(2);
  await_idle();
  std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(engine->healthy(0ms)) << "idle again";
}

TEST_F(EngineCoreTest, TimeSpentIdleDoesNotCountAgainstItsHealth) {
  constexpr auto kPatience = 50ms;
  start(1);
  std::this_thread::sleep_for(2 * kPatience);
  const auto submitted = Clock::now();
  submit_waiting(1);
  const bool healthy = engine->healthy(kPatience);
  // On a machine so slow that the patience has run out the answer says nothing.
  if (Clock::now() - submitted <= kPatience) {
    EXPECT_TRUE(healthy);
  }
  model->gate.open();
  answers.get(1);
}

TEST_F(EngineCoreTest, CountsWhatWaitsAtEveryMoment) {
  start(2);
  submit_waiting(1, {sequence_of(10, 5), sequence_of(11, 6)});
  EngineStats stats = engine->stats();
  EXPECT_EQ(stats.num_requests, 1u);
  EXPECT_EQ(stats.num_waiting_tokens, 6) << "two sequences of the three are in the step";
  submit(2, {sequence_of(2, 30)});
  const auto cancelled = submit(3, {sequence_of(3, 4), sequence_of(4, 4)});
  stats = engine->stats();
  EXPECT_EQ(stats.num_requests, 3u);
  EXPECT_EQ(stats.num_waiting_tokens, 6 + 30 + 8);
  EXPECT_EQ(stats.num_steps, 0u);
  cancelled->cancel();
  model->gate.open();
  await_idle();
  stats = engine->stats();
  EXPECT_EQ(stats.num_sequences, 4u);
  EXPECT_EQ(stats.num_tokens, 1u + 5 + 6 + 30);
  EXPECT_EQ(stats.num_steps, 2u);
  EXPECT_EQ(stats.steps_by_sequences[1], 2u);  // 2 sequences each
  EXPECT_EQ(stats.steps_by_tokens[6], 1u);     // 36 tokens
}

TEST_F(EngineCoreTest, MeasuresItsRateOverFullSteps) {
  start(2);
  EXPECT_EQ(engine->queue().tokens_per_s, 0);
  submit_waiting(1);
  submit(2, {sequence_of(2, 30), sequence_of(2, 30), sequence_of(2, 30)});
  const QueueEstimate queue = engine->queue();
  EXPECT_EQ(queue.num_waiting_tokens, 90);
  EXPECT_EQ(queue.num_requests, 2u);
  EXPECT_EQ(queue.step_tokens, kMaxTokens);
  EXPECT_EQ(queue.drain_time(), 0) << "nothing was measured yet";
  model->gate.open();
  await_idle();
  EXPECT_GT(engine->queue().tokens_per_s, 0) << "the second step left a sequence waiting";
  EXPECT_EQ(engine->queue().drain_time(), 0);
}

TEST_F(EngineCoreTest, StepsWithRoomLeftSayNothingOfItsRate) {
  start(2);
  submit_waiting(1);
  model->gate.open();
  answers.get(1);
  for (int i = 2; i < 20; ++i) {
    submit(i, {sequence_of(i, 30)});
    answers.get(i);
  }
  await_idle();
  EXPECT_EQ(engine->queue().tokens_per_s, 0);
}

}  // namespace
}  // namespace millrace
