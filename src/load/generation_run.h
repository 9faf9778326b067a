// One load of generation against a server: streams, their timing, and the report.
#pragma once

#include <functional>

#include "load/generation_workload.h"
#include "load/load_loop.h"
#include "load/report.h"

namespace millrace {

struct GenerationLoadOptions : LoopOptions {
  GenerationWorkloadOptions workload;
  Slo slo;
};

// Runs on the calling thread. Throws as run_load() does.
GenerationReport run_generation_load(const GenerationLoadOptions& options,
                                     const std::function<void(const LoadProgress&)>& on_progress);

}  // namespace millrace
