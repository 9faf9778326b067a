// serve(): a model behind HTTP from start to drained stop.
#pragma once

#include <filesystem>
#include <vector>

#include "config/config_file.h"

namespace millrace {

struct ServeOptions {
  std::filesystem::path model;  // an engine or a checkpoint
  BuildConfig build;            // limits, where a checkpoint is served without an engine
  RuntimeConfig runtime;
  std::vector<Setting> settings;  // for the start-up report
};

// The exit status after a GPU failed for good (EX_TEMPFAIL): a supervisor starts the server anew.
inline constexpr int kDeviceLostStatus = 75;

// Prints one line to standard output when ready. Returns the exit status after SIGTERM or SIGINT
// and the drain; a second signal ends the process at once. Throws Error when it cannot start.
int serve(const ServeOptions& options);

}  // namespace millrace
