// The scheduler by trace, and its promises under random load.
#include "runtime/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <sstream>
#include <string>

#include "kernels/kernel_test.h"
#include "support/rounds.h"

namespace millrace {
namespace {

std::shared_ptr<ScheduledRequest> request_of(const std::vector<int64_t>& lengths) {
  auto request = std::make_shared<ScheduledRequest>();
  request->handle = std::make_shared<RequestHandle>();
  for (const int64_t length : lengths) {
    const std::vector<int32_t> ids(static_cast<size_t>(length), 0);
    request->request.sequences.push_back({.token_ids = ids, .token_type_ids = ids});
  }
  return request;
}

// --- by trace ------------------------------------------------------------------------------------

// Lines of a trace:  add A 4 4    a request A with sequences of these lengths arrives
//                    step A0 B0   the next step holds these sequences; "step" alone: there is none
//                    cancel A, done A, drop A B, clear A B   what the last two remove
//                    waiting 12   tokens that are in no step yet
struct EncoderTrace {
  std::string name;
  StepLimits limits;
  std::vector<std::string> lines;
};

void PrintTo(const EncoderTrace& trace, std::ostream* out) {
  *out << trace.name;
}

class EncoderPlayer {
 public:
  explicit EncoderPlayer(const StepLimits& limits) : scheduler_(limits) {}

  void play(const std::string& line) {
    std::istringstream in(line);
    std::string verb;
    in >> verb;
    std::string rest;
    std::getline(in >> std::ws, rest);
    if (verb == "add") {
      add(rest);
    } else if (verb == "step") {
      EXPECT_EQ(text_of(scheduler_.next_step()), rest);
    } else if (verb == "cancel") {
      requests_.at(rest)->handle->cancel();
    } else if (verb == "done") {
      requests_.at(rest)->done = true;
    } else if (verb == "drop") {
      EXPECT_EQ(text_of(scheduler_.drop_finished(Clock::now())), rest);
    } else if (verb == "clear") {
      EXPECT_EQ(text_of(scheduler_.clear()), rest);
    } else if (verb == "waiting") {
      EXPECT_EQ(std::to_string(scheduler_.num_waiting_tokens()), rest);
    } else {
      FAIL() << "unknown verb " << verb;
    }
    scheduler_.check_integrity();
  }

 private:
  void add(const std::string& text) {
    std::istringstream in(text);
    std::string name;
    in >> name;
    std::vector<int64_t> lengths;
    for (int64_t length = 0; in >> length;) lengths.push_back(length);
    requests_[name] = request_of(lengths);
    scheduler_.add(requests_[name]);
  }

  std::string name_of(const std::shared_ptr<ScheduledRequest>& request) const {
    for (const auto& [name, known] : requests_)
      if (known == request) return name;
    return "?";
  }

  std::string text_of(const std::vector<StepItem>& step) const {
    std::string text;
    for (const StepItem& item : step)
      text += (text.empty() ? "" : " ") + name_of(item.request) + std::to_string(item.sequence);
    return text;
  }

  std::string text_of(const std::vector<std::shared_ptr<ScheduledRequest>>& requests) const {
    std::string text;
    for (const auto& request : requests) text += (text.empty() ? "" : " ") + name_of(request);
    return text;
  }

  Scheduler scheduler_;
  std::map<std::string, std::shared_ptr<ScheduledRequest>> requests_;
};

StepLimits limits_of(int64_t tokens, int64_t sequences, int64_t length) {
  return {.max_num_tokens = tokens, .max_num_sequences = sequences, .max_seq_len = length};
}

StepLimits preferring(int64_t tokens, StepLimits limits) {
  limits.preferred_num_tokens = tokens;
  return limits;
}

const std::vector<EncoderTrace> kEncoderTraces = {
    {"nothing_to_do", limits_of(10, 4, 10), {"step", "waiting 0", "drop", "clear"}},
    {"tokens_limit_a_step",
     limits_of(10, 9, 10),
     {"add A 4", "add B 4", "add C 4", "waiting 12", "step A0 B0", "waiting 4", "step C0",
      "waiting 0", "step"}},
    {"a_step_may_be_full",
     limits_of(10, 9, 10),
     {"add A 5", "add B 5", "add C 6", "step A0 B0", "step C0"}},
    {"sequences_limit_a_step",
     limits_of(100, 2, 10),
     {"add A 1", "add B 1", "add C 1", "step A0 B0", "step C0"}},
    {"what_does_not_fit_ends_the_step_and_keeps_its_turn",
     limits_of(10, 9, 10),
     {"add A 6", "add B 7", "add C 2 6", "step A0", "step B0 C0", "step C1"}},
    {"a_step_may_aim_at_less_than_the_limit",
     preferring(5, limits_of(10, 9, 10)),
     {"add A 4", "add B 2", "add C 3", "add D 9", "step B0 C0", "step A0", "step D0"}},
    {"an_over_long_sequence_runs_alone",
     limits_of(10, 9, 30),
     {"add A 2", "add B 25", "add C 3", "step A0 C0", "add D 28", "step B0", "step D0", "step"}},
    {"a_request_spans_steps",
     limits_of(10, 9, 10),
     {"add A 4 4 4 4 4", "step A0 A1", "waiting 12", "step A2 A3", "step A4", "waiting 0", "step"}},
    {"a_short_request_overtakes_the_rest_of_a_long_one",
     limits_of(10, 9, 10),
     {"add A 5 5 5 5 5 5", "step A0 A1", "add B 3", "step B0 A2", "step A3 A4", "step A5"}},
    {"later_short_requests_do_so_in_order_of_arrival",
     limits_of(10, 1, 10),
     {"add A 9 9 9 9", "step A0", "add B 3", "add C 3", "step B0", "step C0", "step A1"}},
    {"of_equal_requests_the_first_is_finished_first",
     limits_of(10, 1, 10),
     {"add A 5 5 5", "add B 5 5 5", "step A0", "step A1", "step A2", "step B0", "step B1",
      "step B2"}},
    {"size_is_counted_in_tokens_of_the_whole_request",
     limits_of(10, 1, 10),
     {"add A 8 8", "add B 2 2 2 2 2", "add C 9", "step C0", "step B0", "step B1", "step B2",
      "step B3", "step B4", "step A0", "step A1"}},
    {"a_turn_is_kept_until_somebody_shorter_comes",
     limits_of(10, 1, 10),
     {"add A 5 5 5 5 5 5", "step A0", "step A1", "add B 6", "step B0", "step A2", "add C 5 5 5 5 5",
      "step A3"}},
    {"what_was_served_counts_for_those_who_waited",
     limits_of(10, 1, 10),
     {"add A 10 10 10", "step A0", "step A1", "add B 9", "add C 11", "step B0", "step A2",
      "step C0"}},
    {"cancelled_and_answered_requests_go",
     limits_of(4, 9, 4),
     {"add A 4 4", "add B 3 1", "add C 4 4 2", "add D 4 4 4", "waiting 34", "cancel C",
      "step B0 B1", "done A", "drop A C", "waiting 12", "drop", "step D0", "step D1", "step D2",
      "waiting 0", "step"}},
    {"all_can_be_cleared",
     limits_of(4, 9, 4),
     {"add A 4 4", "add B 3", "add C 4", "step B0", "clear C A", "waiting 0", "step", "add D 1",
      "step D0"}},
};

class EncoderTraceTest : public testing::TestWithParam<EncoderTrace> {};

TEST_P(EncoderTraceTest, GivesTheExpectedSteps) {
  EncoderPlayer player(GetParam().limits);
  for (const std::string& line : GetParam().lines) {
    SCOPED_TRACE(line);
    player.play(line);
  }
}

INSTANTIATE_TEST_SUITE_P(Scheduler, EncoderTraceTest, testing::ValuesIn(kEncoderTraces),
                         [](const auto& trace) { return trace.param.name; });

// A stream of newcomers that never ends must not hold up what was there before.
TEST(SchedulerTest, AStreamOfShortRequestsDoesNotStarveTheRestOfALongOne) {
  constexpr int64_t kLength = 200;
  Scheduler scheduler(limits_of(kLength, 1, kLength));
  const auto request = request_of(std::vector<int64_t>(10, kLength));
  scheduler.add(request);
  size_t num_steps = 0;
  while (request->num_scheduled < 10 && num_steps < 100'000) {
    scheduler.add(request_of({1}));
    const auto step = scheduler.next_step();
    ASSERT_EQ(step.size(), 1u);
    scheduler.check_integrity();
    ++num_steps;
  }
  EXPECT_EQ(request->num_scheduled, 10u) << "after " << num_steps << " steps";
}

// --- under random load ---------------------------------------------------------------------------

// A scheduler beside a plain account of what it must do.
class Account {
 public:
  Account(const StepLimits& limits, cpu::Random& random)
      : limits_(limits),
        step_tokens_(limits.preferred_num_tokens > 0
                         ? std::min(limits.preferred_num_tokens, limits.max_num_tokens)
                         : limits.max_num_tokens),
        random_(random),
        scheduler_(limits) {}

  void add() {
    std::vector<int64_t> lengths(static_cast<size_t>(
        random_.integer(0, 9) == 0 ? random_.integer(1, 60) : random_.integer(1, 3)));
    const int64_t longest = random_.integer(1, limits_.max_seq_len);
    for (int64_t& length : lengths) length = random_.integer(1, longest);
    const auto request = request_of(lengths);
    Entry entry{.request = request,
                .num_tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0}),
                .waiting_before = scheduler_.num_waiting_tokens(),
                .served_before = served_};
    scheduler_.add(request);
    waiting_[request.get()] = entry;
    for (auto& [key, other] : waiting_)
      other.most_requests = std::max(other.most_requests, waiting_.size());
  }

  void drop_some() {
    for (const auto& [key, entry] : waiting_) {
      if (random_.integer(0, 40) != 0) continue;
      if (random_.integer(0, 1) == 0)
        entry.request->handle->cancel();
      else
        entry.request->done = true;
      leaving_.push_back(key);
    }
    std::vector<const ScheduledRequest*> dropped;
    for (const auto& request : scheduler_.drop_finished(Clock::now()))
      dropped.push_back(request.get());
    std::ranges::sort(dropped);
    std::ranges::sort(leaving_);
    ASSERT_EQ(dropped, leaving_);
    for (const auto* key : leaving_) waiting_.erase(key);
    leaving_.clear();
  }

  void step() {
    const bool had_work = !waiting_.empty();
    const std::vector<StepItem> step = scheduler_.next_step();
    ASSERT_EQ(step.empty(), !had_work);
    int64_t num_tokens = 0;
    for (const StepItem& item : step) num_tokens += serve(item);
    const auto size = static_cast<int64_t>(step.size());
    ASSERT_LE(size, limits_.max_num_sequences);
    if (size > 1) {
      ASSERT_LE(num_tokens, step_tokens_);
    }
    const bool has_room =
        size < limits_.max_num_sequences && num_tokens + limits_.max_seq_len <= step_tokens_;
    if (has_room) {
      ASSERT_TRUE(scheduler_.empty()) << "a step could have been larger";
    }
  }

  void check() const {
    scheduler_.check_integrity();
    int64_t num_tokens = 0;
    for (const auto& [key, entry] : waiting_) {
      const auto& sequences = entry.request->request.sequences;
      for (size_t i = entry.next; i < sequences.size(); ++i)
        num_tokens += sequences[i].num_tokens();
      ASSERT_LE(served_ - entry.served_before, bound(entry)) << "starved";
    }
    ASSERT_EQ(scheduler_.num_waiting_tokens(), num_tokens);
    ASSERT_EQ(scheduler_.num_waiting_requests(), waiting_.size());
    ASSERT_EQ(scheduler_.empty(), waiting_.empty());
  }

  size_t num_waiting() const { return waiting_.size(); }
  // The largest part of its bound that a request waited.
  double longest_wait() const { return longest_wait_; }

 private:
  struct Entry {
    std::shared_ptr<ScheduledRequest> request;
    size_t next = 0;             // the sequence that must come next
    int64_t num_tokens = 0;      // of all its sequences
    int64_t waiting_before = 0;  // tokens that waited on its arrival
    int64_t served_before = 0;   // tokens served to all until then
    size_t most_requests = 0;    // in the queue with it, itself included
  };

  // Tokens that are served from the arrival of a request to its end: scheduler.h says why.
  int64_t bound(const Entry& entry) const {
    return entry.waiting_before + 2 * entry.num_tokens * static_cast<int64_t>(entry.most_requests) +
           limits_.max_seq_len;
  }

  int64_t serve(const StepItem& item) {
    const auto found = waiting_.find(item.request.get());
    EXPECT_NE(found, waiting_.end()) << "a request that is not waiting";
    if (found == waiting_.end()) return 0;
    Entry& entry = found->second;
    EXPECT_EQ(item.sequence, entry.next++) << "a sequence twice or out of order";
    const auto& sequences = item.request->request.sequences;
    const int64_t num_tokens = sequences[item.sequence].num_tokens();
    served_ += num_tokens;
    const auto waited = static_cast<double>(served_ - entry.served_before);
    longest_wait_ = std::max(longest_wait_, waited / static_cast<double>(bound(entry)));
    if (entry.next == sequences.size()) waiting_.erase(found);
    return num_tokens;
  }

  StepLimits limits_;
  int64_t step_tokens_;  // that a step of more than one sequence may have
  cpu::Random& random_;
  Scheduler scheduler_;
  std::map<const ScheduledRequest*, Entry> waiting_;
  std::vector<const ScheduledRequest*> leaving_;
  int64_t served_ = 0;
  double longest_wait_ = 0;
};

TEST(SchedulerTest, KeepsItsPromisesUnderRandomLoad) {
  constexpr int kLives = test::rounds(100);
  constexpr int kStepsOfALife = 1'100;
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  double longest_wait = 0;
  for (int life = 0; life < kLives; ++life) {
    const StepLimits limits = preferring(
        random.integer(0, 300),
        limits_of(random.integer(1, 300), random.integer(1, 20), random.integer(1, 100)));
    Account account(limits, random);
    const auto most_waiting = static_cast<size_t>(random.integer(1, 40));
    for (int i = 0; i < kStepsOfALife; ++i) {
      for (int64_t n = random.integer(0, 5); n > 0 && account.num_waiting() < most_waiting; --n)
        account.add();
      if (random.integer(0, 7) == 0) account.drop_some();
      account.step();
      account.check();
      if (HasFatalFailure()) return;
    }
    longest_wait = std::max(longest_wait, account.longest_wait());
  }
  std::cout << "[          ] longest wait: " << longest_wait << " of the bound\n";
  EXPECT_LE(longest_wait, 1.0);
}

}  // namespace
}  // namespace millrace
