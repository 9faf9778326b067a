// millrace serve.
#include "checkpoint/source.h"
#include "cli/commands.h"
#include "cli/config_input.h"
#include "server/serve.h"

namespace millrace {

int run(const ServeCommand& command) {
  const ConfigFile config = config_of(command.what, command.overrides);
  return serve({.model = open_source(config.build.source)->fetch({}),
                .build = config.build,
                .runtime = config.runtime,
                .settings = config.settings});
}

}  // namespace millrace
