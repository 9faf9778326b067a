// What commands have in common: a checkpoint or a config.yaml, with flags over it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "config/config_file.h"

namespace millrace {

bool is_config_file(const std::string& what);  // a .yaml or .yml file

// What the checkpoint of a config.yaml without errors has to say about it: rule V12. Of a hub's
// repository the config files are fetched.
void check_checkpoint(const ConfigFile& config, Diagnostics& diagnostics);

// A checkpoint (a directory or a hub's repository) or a config.yaml, and the flags over it. Prints
// the file's diagnostics to standard error. Throws Error{kInvalidArgument} when it has errors.
ConfigFile config_of(const std::string& what, const std::vector<Override>& overrides);

// Fetches the checkpoint, with its progress on standard error, and returns its directory. A model
// that cannot be served is refused before its weights are fetched.
std::filesystem::path fetch_model(const BuildConfig& build);

}  // namespace millrace
