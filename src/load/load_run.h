// One load against one route of encoders: requests, probes, and the report.
#pragma once

#include <cstddef>
#include <functional>

#include "load/load_loop.h"
#include "load/report.h"
#include "load/workload.h"

namespace millrace {

struct EncoderLoadOptions : LoopOptions {
  WorkloadOptions workload;
  size_t num_probes = 0;  // inputs whose answers are compared; 0: none
};

// Runs on the calling thread. Throws Error{kUnavailable} when the very first request finds nobody,
// and Error{kInvalidArgument} when the process may not open enough connections.
LoadReport run_load(const EncoderLoadOptions& options,
                    const std::function<void(const LoadProgress&)>& on_progress);

}  // namespace millrace
