// Metrics: what /metrics shows, in Prometheus' text format.
#pragma once

#include <memory>
#include <string>

#include "http/server.h"
#include "runtime/engine_core.h"

namespace millrace {

// Counters and histograms by millrace_*; any thread.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void observe_access(const http::AccessRecord& record);
  void observe_tokenization(double seconds, int64_t num_inputs, int64_t num_truncated);
  void observe_request(const RequestTimings& timings, int64_t num_tokens);

  // The text of a scrape; engine figures are read at this moment.
  std::string scrape(const EngineStats& engine, size_t num_connections);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace millrace
