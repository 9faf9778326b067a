// What commands have in common: a checkpoint or a config.yaml, with flags over it.
#pragma once

#include <string>
#include <vector>

#include "cli/commands.h"
#include "config/config_file.h"

namespace millrace {

bool is_config_file(const std::string& what);  // a .yaml or .yml file

// Reads a config.yaml, and what its checkpoint has to say about it.
ConfigFile read_config(const std::string& path, Diagnostics& diagnostics);

// Reads a config.yaml and prints its diagnostics to standard error. Throws Error{kInvalidArgument}
// with the number of errors when it has some.
ConfigFile read_config(const std::string& path);

// A checkpoint directory or a config.yaml, and the flags over it.
ConfigFile config_of(const std::string& what, const std::vector<Override>& overrides);

}  // namespace millrace
