// millrace validate: every finding about a config.yaml.
#include <fmt/core.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/config_input.h"

namespace millrace {

int run(const ValidateCommand& command) {
  Diagnostics diagnostics;
  const ConfigFile config = load_config(command.config, diagnostics);
  try {
    if (!diagnostics.has_errors()) check_checkpoint(config, diagnostics);
  } catch (const Error& error) {
    // The file can be right while the hub is out of reach; a directory is part of what is checked.
    if (config.build.source.kind == SourceKind::kLocal) throw;
    fmt::print(stderr, "millrace: the checkpoint was not looked at: {}\n", error.message());
  }
  if (command.json) {
    fmt::print("{}", to_json(diagnostics));
  } else {
    fmt::print("{}", render(diagnostics, ::isatty(STDOUT_FILENO) == 1));
    if (!diagnostics.has_errors()) fmt::print("{} is valid\n", command.config);
  }
  return diagnostics.has_errors() ? 2 : 0;
}

}  // namespace millrace
