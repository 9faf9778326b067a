// millrace validate: every finding about a config.yaml.
#include <fmt/core.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/config_input.h"

namespace millrace {

int run(const ValidateCommand& command) {
  Diagnostics diagnostics;
  read_config(command.config, diagnostics);
  if (command.json) {
    fmt::print("{}", to_json(diagnostics));
  } else {
    fmt::print("{}", render(diagnostics, ::isatty(STDOUT_FILENO) == 1));
    if (!diagnostics.has_errors()) fmt::print("{} is valid\n", command.config);
  }
  return diagnostics.has_errors() ? 2 : 0;
}

}  // namespace millrace
