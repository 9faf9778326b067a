// EngineCore: one thread that recites schedule -> forward -> commit over a queue of requests.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/backoff.h"
#include "runtime/model_runner.h"
#include "runtime/queue_estimate.h"
#include "runtime/request.h"
#include "runtime/scheduler.h"

namespace millrace {

// How many steps had at most 2^i of something and more than half of that.
using StepSizes = std::array<uint64_t, 24>;

// What the engine has done and is doing; a snapshot.
struct EngineStats {
  uint64_t num_steps = 0;
  uint64_t num_sequences = 0;  // that left a step
  uint64_t num_tokens = 0;     // that left a step
  uint64_t num_failed_steps = 0;
  StepSizes steps_by_sequences{};
  StepSizes steps_by_tokens{};
  size_t num_requests = 0;         // submitted and not finished
  int64_t num_waiting_tokens = 0;  // not in a step yet
};

class EngineCore {
 public:
  // Starts the thread. `limits` are those that the runner's arena was planned for. `on_lost` is
  // called once, on the engine's thread, when the device fails for good.
  EngineCore(std::unique_ptr<ModelRunner> runner, StepLimits limits,
             std::function<void()> on_lost = {});
  ~EngineCore();  // stop()
  EngineCore(const EngineCore&) = delete;
  EngineCore& operator=(const EngineCore&) = delete;

  // Any thread. Every sequence has 1..max_seq_len tokens (checked). Throws Error{kUnavailable}
  // after stop() or when the device is lost. The caller bounds how many requests it has submitted.
  std::shared_ptr<RequestHandle> submit(Request request);

  // Finishes the steps in flight, fails what waits with Error{kUnavailable}, ends the thread. Any
  // thread but the engine's own, any number of times; each returns when the thread has ended.
  void stop();

  EngineStats stats() const;

  // What somebody who comes now has to expect.
  QueueEstimate queue() const;

  // False when work has waited for longer than `patience` without a step being finished, and when
  // the device is lost.
  bool healthy(Clock::duration patience) const;

 private:
  // A step on its way from the schedule to its answers.
  struct Step {
    std::vector<StepItem> items;
    Batch batch;
    bool is_full = false;  // others wait that did not fit into it
    Clock::time_point begun_at{};
  };

  void loop();
  void gather(std::unique_lock<std::mutex>& lock);
  Step schedule(std::vector<std::shared_ptr<ScheduledRequest>> arrived);
  void launch(Step step);
  void complete_oldest();
  void commit(const Step& step, const StepOutput& output);
  void fail(const Step& step);
  void finish(ScheduledRequest& request, std::exception_ptr error);
  void publish(const Step& step, bool failed);
  void fail_all();

  std::unique_ptr<ModelRunner> runner_;
  StepLimits limits_;
  std::function<void()> on_lost_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<ScheduledRequest>> arrivals_;  // guarded by mutex_
  size_t wake_at_ = 1;            // guarded by mutex_: so many arrivals wake the thread
  bool stopping_ = false;         // guarded by mutex_
  bool lost_ = false;             // guarded by mutex_: the device failed for good
  EngineStats stats_;             // guarded by mutex_
  TokenRate rate_;                // guarded by mutex_
  Clock::time_point idle_since_;  // guarded by mutex_: last sign of progress

  Scheduler scheduler_;  // of the engine thread, as all below
  std::deque<Step> in_flight_;
  size_t num_ended_ = 0;         // requests that ended since stats_ were told
  size_t num_answered_ = 0;      // requests that ended in the last step
  Clock::duration step_time_{};  // of the last step
  Backoff gathering_;
  std::thread thread_;
  std::once_flag joined_;
};

}  // namespace millrace
