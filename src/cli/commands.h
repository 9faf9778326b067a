// The commands behind the subcommands of `millrace`.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace millrace {

// A flag that stands over the config's setting of the same meaning.
struct Override {
  std::string setting;  // "millrace.port"
  std::string value;
  std::string flag;  // "--port"
};

struct BuildCommand {
  std::string model;   // a checkpoint: a directory or a hub's repository; or
  std::string config;  // a config.yaml
  std::string output;
  std::vector<std::string> targets;      // "cpu", "sm_90a"; empty: the config's
  std::vector<std::string> add_targets;  // for an engine that is there, instead of building one
  std::string engine;                    // that engine
  std::vector<Override> overrides;
};

struct ServeCommand {
  std::string what;  // an engine, a checkpoint or a config.yaml
  std::vector<Override> overrides;
};

struct InspectCommand {
  std::string engine;
  bool json = false;
};

struct PlanCommand {
  std::string what;  // a checkpoint or a config.yaml
  bool json = false;
  bool kernels = false;              // also list what would be compiled for the targets
  std::vector<std::string> targets;  // empty: the config's
  std::vector<Override> overrides;
};

struct ValidateCommand {
  std::string config;
  bool json = false;
};

// Each returns the exit status; errors leave as exceptions.
int run(const BuildCommand& command);
int run(const ServeCommand& command);
int run(const InspectCommand& command);
int run(const PlanCommand& command);
int run(const ValidateCommand& command);

}  // namespace millrace
