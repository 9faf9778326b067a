// Metrics: what /metrics shows of any server: its HTTP. What its model does is added by Endpoints.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "http/server.h"

namespace millrace {

// Counters and histograms; any thread.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void observe_access(const http::AccessRecord& record);

  // The text of a scrape. `num_in_flight`: requests that hold a place.
  std::string scrape(size_t num_connections, int num_in_flight);

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace millrace
