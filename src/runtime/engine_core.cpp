// The engine loop. Nothing that a client sends ends it: a step that throws fails its own requests.
#include "runtime/engine_core.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/thread_name.h"
#include "ops/cuda_backend.h"
#include "runtime/engine_errors.h"

namespace millrace {

namespace {

int64_t count_tokens(const Request& request) {
  int64_t total = 0;
  for (const Sequence& sequence : request.sequences) total += sequence.num_tokens();
  return total;
}

// Of the time of a step that the next one may wait for clients that were just answered.
constexpr int kGatherShare = 8;

size_t size_class(size_t count) {
  return std::min<size_t>(std::bit_width(std::max<size_t>(count, 1) - 1),
                          std::tuple_size_v<StepSizes> - 1);
}

// Where the rows of each sequence begin in the result.
std::vector<size_t> row_offsets(const Request& request) {
  std::vector<size_t> first_row{0};
  for (const Sequence& sequence : request.sequences) {
    const bool per_token = request.output == OutputKind::kTokens;
    first_row.push_back(first_row.back() +
                        (per_token ? static_cast<size_t>(sequence.num_tokens()) : 1));
  }
  return first_row;
}

}  // namespace

EngineCore::EngineCore(std::unique_ptr<ModelRunner> runner, StepLimits limits,
                       std::function<void()> on_lost)
    : runner_(std::move(runner)),
      limits_(limits),
      on_lost_(std::move(on_lost)),
      idle_since_(Clock::now()),
      scheduler_(limits) {
  thread_ = std::thread([this] {
    name_thread("engine");
    loop();
  });
}

EngineCore::~EngineCore() {
  stop();
}

std::shared_ptr<RequestHandle> EngineCore::submit(Request request) {
  CHECK(!request.sequences.empty());
  for (const Sequence& sequence : request.sequences) {
    CHECK(sequence.num_tokens() >= 1 && sequence.num_tokens() <= limits_.max_seq_len,
          "a sequence of {} tokens", sequence.num_tokens());
    CHECK(sequence.token_ids.size() == sequence.token_type_ids.size());
  }
  auto scheduled = std::make_shared<ScheduledRequest>();
  scheduled->request = std::move(request);
  scheduled->handle = std::make_shared<RequestHandle>();
  scheduled->submitted_at = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || lost_) std::rethrow_exception(unavailable_error(lost_));
    arrivals_.push_back(scheduled);
    if (stats_.num_requests == 0) idle_since_ = scheduled->submitted_at;
    ++stats_.num_requests;
    stats_.num_waiting_tokens += count_tokens(scheduled->request);
    if (arrivals_.size() < wake_at_) return scheduled->handle;
  }
  wake_.notify_one();
  return scheduled->handle;
}

void EngineCore::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  std::call_once(joined_, [this] { thread_.join(); });
}

EngineStats EngineCore::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

QueueEstimate EngineCore::queue() const {
  const std::lock_guard lock(mutex_);
  return {.num_waiting_tokens = stats_.num_waiting_tokens,
          .num_requests = stats_.num_requests,
          .step_tokens = scheduler_.step_tokens(),
          .tokens_per_s = rate_.tokens_per_s()};
}

bool EngineCore::healthy(Clock::duration patience) const {
  const std::lock_guard lock(mutex_);
  return !stopping_ && !lost_ &&
         (stats_.num_requests == 0 || Clock::now() - idle_since_ <= patience);
}

void EngineCore::loop() {
  while (true) {
    std::vector<std::shared_ptr<ScheduledRequest>> arrived;
    {
      std::unique_lock lock(mutex_);
      if (in_flight_.empty()) {
        gather(lock);
        wake_.wait(lock, [&] { return stopping_ || !arrivals_.empty() || !scheduler_.empty(); });
      }
      if (stopping_ || lost_) break;
      arrived.swap(arrivals_);
    }
    Step step = schedule(std::move(arrived));
    const bool idle = step.items.empty();
    if (!idle) launch(std::move(step));
    // A device works on one step while the next is prepared. Answers are due when it has enough to
    // do, and when there is nothing to prepare.
    const bool enough = static_cast<int>(in_flight_.size()) == runner_->max_in_flight();
    if (enough || (idle && !in_flight_.empty())) {
      complete_oldest();
    } else if (idle) {
      publish({}, false);  // of requests that ended without a step
    }
  }
  while (!in_flight_.empty()) complete_oldest();
  fail_all();
}

// Clients in a loop ask again as soon as they are answered. Where others wait already and all fit
// into one step, a moment of patience makes one step of both, which is faster than two. Where it
// was in vain, as clients do not wait for one another's answers, it is tried ever more rarely.
void EngineCore::gather(std::unique_lock<std::mutex>& lock) {
  const size_t num_answered = std::exchange(num_answered_, 0);
  const size_t num_waiting = arrivals_.size();
  if (stopping_ || num_answered == 0 || num_waiting == 0 || !scheduler_.empty()) return;
  if (stats_.num_waiting_tokens >= scheduler_.step_tokens()) return;
  if (!gathering_.due()) return;
  wake_at_ = num_waiting + num_answered;
  wake_.wait_for(lock, step_time_ / kGatherShare,
                 [&] { return stopping_ || arrivals_.size() >= wake_at_; });
  wake_at_ = 1;
  gathering_.tried((arrivals_.size() - num_waiting) * 2 >= num_answered);
}

// The requests that arrived, less those whose clients have gone, cut into the next step.
EngineCore::Step EngineCore::schedule(std::vector<std::shared_ptr<ScheduledRequest>> arrived) {
  for (auto& request : arrived) scheduler_.add(std::move(request));
  const int64_t num_waiting = scheduler_.num_waiting_tokens();
  const auto now = Clock::now();
  for (const auto& request : scheduler_.drop_finished(now)) {
    finish(*request, request->expired(now) ? deadline_error() : nullptr);
  }
  Step step{.items = scheduler_.next_step(), .begun_at = now};
  step.is_full = !scheduler_.empty();
  const std::lock_guard lock(mutex_);
  stats_.num_waiting_tokens -= num_waiting - scheduler_.num_waiting_tokens();
  return step;
}

void EngineCore::fail_all() {
  std::vector<std::shared_ptr<ScheduledRequest>> waiting = scheduler_.clear();
  {
    const std::lock_guard lock(mutex_);
    std::ranges::move(arrivals_, std::back_inserter(waiting));
    arrivals_.clear();
    stats_.num_waiting_tokens = 0;
  }
  const auto error = unavailable_error(lost_);  // no other thread writes it
  for (const auto& request : waiting) finish(*request, error);
  publish({}, false);
}

void EngineCore::launch(Step step) {
  const auto now = Clock::now();
  bool with_token_rows = false;
  for (const StepItem& item : step.items) {
    if (item.sequence == 0) {
      item.request->started_at = now;
      item.request->result.timings.queue = now - item.request->submitted_at;
    }
    const Sequence& sequence = item.request->request.sequences[item.sequence];
    step.batch.append(sequence.token_ids, sequence.token_type_ids);
    with_token_rows |= item.request->request.output == OutputKind::kTokens;
  }
  try {
    runner_->launch(step.batch, with_token_rows);
    in_flight_.push_back(std::move(step));
  } catch (...) {
    fail(step);
  }
}

void EngineCore::complete_oldest() {
  const Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  try {
    commit(step, runner_->collect());
    publish(step, false);
  } catch (...) {
    fail(step);
  }
}

// Ends the requests of a step with the exception that is being handled.
void EngineCore::fail(const Step& step) {
  log::error("a step of {} failed: {}", to_string(step.batch), current_exception_text());
  const std::exception_ptr error = std::current_exception();
  for (const StepItem& item : step.items) finish(*item.request, error);
  publish(step, true);
  try {
    std::rethrow_exception(error);
  } catch (const DeviceLost&) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(lost_, true)) return;
    }
    if (on_lost_) on_lost_();
  } catch (...) {
    return;  // its own requests alone were hurt
  }
}

void EngineCore::commit(const Step& step, const StepOutput& output) {
  const auto now = Clock::now();
  for (size_t i = 0; i < step.items.size(); ++i) {
    ScheduledRequest& request = *step.items[i].request;
    if (request.done) continue;
    const bool per_token = request.request.output == OutputKind::kTokens;
    const auto width = static_cast<size_t>(per_token ? output.token_width : output.width);
    const size_t begin = per_token ? static_cast<size_t>(step.batch.cu_seqlens[i]) : i;
    const size_t end = per_token ? static_cast<size_t>(step.batch.cu_seqlens[i + 1]) : i + 1;
    const auto rows =
        (per_token ? output.token_rows : output.rows).subspan(begin * width, (end - begin) * width);
    if (!std::ranges::all_of(rows, [](float value) { return std::isfinite(value); })) {
      finish(request,
             std::make_exception_ptr(Error(ErrorCode::kUnsupported,
                                           "the model gave a value that is not a finite number",
                                           "the checkpoint may be damaged, or need --dtype fp32")));
      continue;
    }
    RequestResult& result = request.result;
    if (result.rows.empty()) {
      result.width = static_cast<int64_t>(width);
      result.first_row = row_offsets(request.request);
      result.rows.resize(result.first_row.back() * width);
    }
    const size_t first = result.first_row[step.items[i].sequence] * width;
    std::ranges::copy(rows, result.rows.begin() + static_cast<std::ptrdiff_t>(first));
    if (++request.num_finished < request.request.sequences.size()) continue;
    result.timings.compute = now - request.started_at;
    finish(request, nullptr);
  }
}

// Ends a request once: with its result, with an error, or silently when its client has gone.
void EngineCore::finish(ScheduledRequest& request, std::exception_ptr error) {
  if (request.done) return;
  request.done = true;
  ++num_ended_;
  if (request.handle->cancelled()) return;
  if (error) request.result = {.error = std::move(error)};
  try {
    request.request.on_done(std::move(request.result));
  } catch (...) {
    log::error("an answer could not be handed over: {}", current_exception_text());
  }
}

void EngineCore::publish(const Step& step, bool failed) {
  const std::lock_guard lock(mutex_);
  num_answered_ = std::exchange(num_ended_, 0);
  stats_.num_requests -= num_answered_;
  const auto now = Clock::now();
  const Clock::duration since_last = now - std::exchange(idle_since_, now);
  if (step.items.empty()) return;
  step_time_ = now - step.begun_at;
  if (step.is_full && !failed) rate_.observe(step.batch.num_tokens(), seconds(since_last));
  ++stats_.num_steps;
  stats_.num_failed_steps += failed ? 1 : 0;
  stats_.num_sequences += step.items.size();
  stats_.num_tokens += static_cast<uint64_t>(step.batch.num_tokens());
  ++stats_.steps_by_sequences[size_class(step.items.size())];
  ++stats_.steps_by_tokens[size_class(static_cast<size_t>(step.batch.num_tokens()))];
}

}  // namespace millrace
