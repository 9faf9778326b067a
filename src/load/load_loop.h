// When the requests of a load are sent, and which of them are measured: closed or open loop,
// warm-up, window, aborts, progress. What is sent and how answers are read is its user's.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>

#include "http/async_client.h"
#include "http/base_url.h"
#include "http/message.h"
#include "load/arrivals.h"
#include "load/histogram.h"

namespace millrace {

// What every kind of load has.
struct LoopOptions {
  http::BaseUrl server;
  std::string path;       // of the route, the server's prefix included
  http::Headers headers;  // beside Host and Content-Type

  // Closed loop: each connection sends its next request when it has the answer, after a 429 when
  // its Retry-After has passed.
  int concurrency = 32;
  // Open loop, when set: requests a second, sent whatever became of those before. Latencies count
  // from the intended sending, so that a stall of the server (or of us) is not left out.
  std::optional<double> rate;
  ArrivalKind arrival = ArrivalKind::kPoisson;
  int max_outstanding = 4000;  // open loop: what is due beyond is dropped and counted

  std::chrono::duration<double> warmup{2};
  std::chrono::duration<double> duration{10};
  std::optional<uint64_t> num_requests;  // measured; instead of the duration

  double abort_fraction = 0;  // of requests, closed after a random part of the expected time
  std::chrono::milliseconds timeout{60'000};

  const std::atomic<bool>* interrupted = nullptr;  // polled: ends the run early
};

// Once a second while the load runs.
struct LoadProgress {
  double elapsed = 0;  // s since the first request
  bool warming_up = false;
  double requests_per_s = 0;  // answered 2xx, since the last call
  double tokens_per_s = 0;    // generated, since the last call; of loads that generate
  size_t outstanding = 0;
  uint64_t num_refused = 0;  // 429, so far
  uint64_t num_failed = 0;   // without an answer or with another status, so far
  Histogram latency;         // of 2xx since the last call
  Histogram first_token;     // of 2xx since the last call; of loads that generate
};

// One request of the loop.
struct Ticket {
  Clock::time_point intended;
  std::optional<std::chrono::nanoseconds> abort_after;
  bool measured = false;
  bool slot = false;  // of a closed loop
};

class LoadLoop {
 public:
  // `issue` sends one request with client(), and calls finished() when it is over. `at_end`, where
  // given, is called when nothing is in flight any more, again and again until it returns true.
  struct Hooks {
    std::function<void(const Ticket&)> issue;
    std::function<void()> each_second;
    std::function<bool(Clock::time_point now)> at_end;
    std::function<void(const LoadProgress&)> on_progress;
  };

  // Throws Error{kInvalidArgument} when the process may not open enough connections.
  LoadLoop(const LoopOptions& options, uint64_t seed, size_t num_extra_connections);

  // Throws Error{kUnavailable} when the very first request finds nobody.
  void run(Hooks hooks);

  void finished(const Ticket& ticket, const http::CallResult& result);

  http::AsyncClient& client() { return client_; }
  http::Request request_of(std::string body) const;
  LoadProgress& progress() { return progress_; }
  bool in_window(Clock::time_point when) const {
    return when >= window_begin_ && (!window_end_ || when < *window_end_);
  }
  bool ending() const { return ending_; }  // nothing new is sent

  Clock::time_point window_end() const { return window_end_.value_or(Clock::now()); }
  double window() const;  // s
  uint64_t num_sent() const { return num_sent_; }
  uint64_t num_dropped() const { return num_dropped_; }
  uint64_t num_connections() const { return num_connections_; }  // most at a time

 private:
  void start_slot();
  void next_arrival();
  void issue(Clock::time_point intended, bool slot);
  Clock::duration pause_after(const http::CallResult& result);
  void tick();
  void tell_progress(Clock::time_point now);

  const LoopOptions& options_;
  Hooks hooks_;
  http::AsyncClient client_;
  std::mt19937_64 random_;
  std::optional<Arrivals> arrivals_;
  uint64_t seed_;

  Clock::time_point begin_;         // of the warm-up
  Clock::time_point window_begin_;  // of what is measured
  std::optional<Clock::time_point> window_end_;
  bool ending_ = false;
  bool answered_ = false;  // something was
  size_t outstanding_ = 0;
  uint64_t num_sent_ = 0;
  uint64_t num_dropped_ = 0;
  uint64_t num_connections_ = 0;
  double expected_s_ = 0.05;  // running mean of successful latencies, for aborts
  LoadProgress progress_;
  Clock::time_point progress_at_;
};

bool is_success(int status);  // 2xx

// "open loop, 5 requests/s, Poisson arrivals, 30 % aborted"
std::string mode_text(const LoopOptions& options);

}  // namespace millrace
