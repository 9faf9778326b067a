// Flags of a command that override settings of config.yaml.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace millrace {

// `overrides` must live as long as `app`'s callbacks may run.
void add_override(CLI::App& app, std::vector<Override>& overrides, const std::string& flag,
                  const std::string& setting, const std::string& help);

// One without a value, which turns the setting on.
void add_switch(CLI::App& app, std::vector<Override>& overrides, const std::string& flag,
                const std::string& setting, const std::string& help);

}  // namespace millrace
