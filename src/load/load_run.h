// One load against one route: closed or open loop, warm-up, aborts, probes, and the report.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "http/base_url.h"
#include "http/message.h"
#include "load/arrivals.h"
#include "load/report.h"
#include "load/workload.h"

namespace millrace {

struct LoadOptions {
  http::BaseUrl server;
  std::string path;       // of the route, the server's prefix included
  http::Headers headers;  // beside Host and Content-Type
  WorkloadOptions workload;

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
  size_t num_probes = 0;      // inputs whose answers are compared; 0: none
  std::chrono::milliseconds timeout{60'000};

  const std::atomic<bool>* interrupted = nullptr;  // polled: ends the run early
};

// Once a second while the load runs.
struct LoadProgress {
  double elapsed = 0;  // s since the first request
  bool warming_up = false;
  double requests_per_s = 0;  // answered 2xx, since the last call
  size_t outstanding = 0;
  uint64_t num_refused = 0;  // 429, so far
  uint64_t num_failed = 0;   // without an answer or with another status, so far
  Histogram latency;         // of 2xx since the last call
};

// Runs on the calling thread. Throws Error{kUnavailable} when the very first request finds nobody,
// and Error{kInvalidArgument} when the process may not open enough connections.
LoadReport run_load(const LoadOptions& options,
                    const std::function<void(const LoadProgress&)>& on_progress);

}  // namespace millrace
