// The builder: checkpoint -> plan -> verify -> write.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/thread_pool.h"
#include "checkpoint/engine.h"
#include "models/plan.h"

namespace millrace {

// Told where a build is. `total` is 0 for stages without a measure; `detail` is what is in work
// just now, where that is worth saying.
struct BuildProgress {
  std::function<void(const std::string& stage, uint64_t done, uint64_t total,
                     const std::string& detail)>
      report;
};

struct BuildResult {
  std::filesystem::path engine;
  int64_t num_parameters = 0;
  int64_t weight_bytes = 0;
  int64_t activation_bytes = 0;
};

// Needs no device. Throws before anything is written when the checkpoint does not fit its config.
BuildResult build_engine(const BuildConfig& config, const std::filesystem::path& output,
                         ThreadPool& pool, const BuildProgress& progress);

// Compiles the kernels of an engine for further GPU architectures ("sm_80") and adds them to it.
void add_targets(const std::filesystem::path& engine, const std::vector<std::string>& targets,
                 ThreadPool& pool, const BuildProgress& progress);

}  // namespace millrace
