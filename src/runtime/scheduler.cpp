// Fair queueing, a whole request at a time.
#include "runtime/scheduler.h"

#include <algorithm>

#include "base/error.h"

namespace millrace {

namespace {

// Virtual time of a token: fine enough to be divided by the requests in the queue.
constexpr int64_t kTokenParts = 4096;

int64_t count_waiting_tokens(const ScheduledRequest& request) {
  const std::vector<Sequence>& sequences = request.request.sequences;
  int64_t total = 0;
  for (size_t i = request.num_scheduled; i < sequences.size(); ++i)
    total += sequences[i].num_tokens();
  return total;
}

}  // namespace

Scheduler::Scheduler(StepLimits limits)
    : limits_(limits),
      step_tokens_(limits.preferred_num_tokens > 0
                       ? std::min(limits.preferred_num_tokens, limits.max_num_tokens)
                       : limits.max_num_tokens) {}

void Scheduler::add(std::shared_ptr<ScheduledRequest> request) {
  CHECK(!request->request.sequences.empty());
  const int64_t num_tokens = count_waiting_tokens(*request);
  num_waiting_tokens_ += num_tokens;
  queue_.emplace(Tag{virtual_time_ + num_tokens * kTokenParts, num_arrived_++}, std::move(request));
}

std::vector<StepItem> Scheduler::next_step() {
  std::vector<StepItem> step;
  int64_t num_tokens = 0;
  while (!queue_.empty()) {
    const auto first = queue_.begin();
    const std::shared_ptr<ScheduledRequest>& request = first->second;
    const std::vector<Sequence>& sequences = request->request.sequences;
    const int64_t length = sequences[request->num_scheduled].num_tokens();
    const bool fits = num_tokens + length <= step_tokens_ &&
                      static_cast<int64_t>(step.size()) < limits_.max_num_sequences;
    if (!fits && !step.empty()) break;
    virtual_time_ += length * kTokenParts / static_cast<int64_t>(queue_.size()) + 1;
    num_tokens += length;
    num_waiting_tokens_ -= length;
    step.push_back({.request = request, .sequence = request->num_scheduled++});
    if (request->num_scheduled == sequences.size()) queue_.erase(first);
  }
  return step;
}

std::vector<std::shared_ptr<ScheduledRequest>> Scheduler::drop_finished(Clock::time_point now) {
  std::vector<std::shared_ptr<ScheduledRequest>> dropped;
  for (auto entry = queue_.begin(); entry != queue_.end();) {
    const ScheduledRequest& request = *entry->second;
    if (!request.done && !request.handle->cancelled() && !request.expired(now)) {
      ++entry;
      continue;
    }
    num_waiting_tokens_ -= count_waiting_tokens(*entry->second);
    dropped.push_back(std::move(entry->second));
    entry = queue_.erase(entry);
  }
  return dropped;
}

std::vector<std::shared_ptr<ScheduledRequest>> Scheduler::clear() {
  std::vector<std::shared_ptr<ScheduledRequest>> all;
  for (auto& [tag, request] : queue_) all.push_back(std::move(request));
  queue_.clear();
  num_waiting_tokens_ = 0;
  return all;
}

void Scheduler::check_integrity() const {
  int64_t num_tokens = 0;
  for (const auto& [key, request] : queue_) {
    int64_t whole = 0;
    for (const Sequence& sequence : request->request.sequences) whole += sequence.num_tokens();
    CHECK(key.first - virtual_time_ <= whole * kTokenParts,
          "a request of {} tokens ends at {}, {} now", whole, key.first, virtual_time_);
    CHECK(key.second < num_arrived_);
    CHECK(request->num_scheduled < request->request.sequences.size());
    num_tokens += count_waiting_tokens(*request);
  }
  CHECK(num_tokens == num_waiting_tokens_, "{} tokens wait, {} were counted", num_tokens,
        num_waiting_tokens_);
}

}  // namespace millrace
