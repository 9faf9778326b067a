// Scheduler: which sequences share the next step. Pure policy: no thread, no clock, no device.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "models/plan.h"
#include "runtime/request.h"

namespace millrace {

// A request in the engine: what was asked, and how far it is.
struct ScheduledRequest {
  Request request;
  std::shared_ptr<RequestHandle> handle;
  Clock::time_point submitted_at;
  Clock::time_point started_at{};  // entered its first step
  size_t num_scheduled = 0;        // sequences that entered a step
  size_t num_finished = 0;         // sequences that left one
  RequestResult result;
  bool done = false;  // its client was answered, or nobody waits for the answer

  bool expired(Clock::time_point now) const { return request.deadline && *request.deadline < now; }
};

// One sequence of a step.
struct StepItem {
  std::shared_ptr<ScheduledRequest> request;
  size_t sequence = 0;  // index in the request
};

// Fair queueing over requests, in tokens (Demers, Keshav, Shenker: Analysis and Simulation of a
// Fair Queueing Algorithm, 1989): virtual time runs as if all requests in the queue were served at
// once, each at an equal share. A request's tag is the virtual time at which all of its tokens
// would then be served, fixed on arrival; the lowest tag goes first. So a short request overtakes
// the rest of a long one. Of equal requests the first is finished first: an answer is whole or
// nothing, and turns would only delay them all.
//
// No stream of newcomers starves a request: they may only overtake it until the virtual time has
// reached its tag. From its arrival to its end a request of T tokens waits for at most the tokens
// that waited before it, 2 T for each request in the queue, and one sequence.
class Scheduler {
 public:
  explicit Scheduler(StepLimits limits);

  void add(std::shared_ptr<ScheduledRequest> request);

  // The next step: at most the limits, never empty while there is work. A sequence that does not
  // fit into what is left ends the step, so that order is kept.
  std::vector<StepItem> next_step();

  // Removes and returns the requests that were cancelled, are done, or have a deadline before
  // `now`.
  std::vector<std::shared_ptr<ScheduledRequest>> drop_finished(Clock::time_point now);

  // Removes and returns all requests.
  std::vector<std::shared_ptr<ScheduledRequest>> clear();

  bool empty() const { return queue_.empty(); }
  int64_t step_tokens() const { return step_tokens_; }  // never changes: any thread
  int64_t num_waiting_tokens() const { return num_waiting_tokens_; }
  size_t num_waiting_requests() const { return queue_.size(); }

  // Throws InternalError when the invariants above or the counts do not hold.
  void check_integrity() const;

 private:
  using Tag = std::pair<int64_t, uint64_t>;  // virtual time of its end, order of arrival

  StepLimits limits_;
  int64_t step_tokens_;  // a step ends before it has more, its first sequence excepted
  std::map<Tag, std::shared_ptr<ScheduledRequest>> queue_;  // requests with unscheduled sequences
  int64_t virtual_time_ = 0;                                // in parts of a token
  uint64_t num_arrived_ = 0;
  int64_t num_waiting_tokens_ = 0;
};

}  // namespace millrace
