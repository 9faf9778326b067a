// millrace serve.
#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "cli/commands.h"
#include "cli/config_input.h"
#include "server/serve.h"

namespace millrace {

int run(const ServeCommand& command) {
  std::vector<Override> overrides;
  if (const char* key = std::getenv("MILLRACE_API_KEY"); key && *key)
    overrides.push_back({"millrace.api_key", key, "MILLRACE_API_KEY"});
  std::ranges::copy(command.overrides, std::back_inserter(overrides));  // flags win
  const ConfigFile config = config_of(command.what, overrides);
  return serve({.model = fetch_model(config.build),
                .build = config.build,
                .runtime = config.runtime,
                .settings = config.settings});
}

}  // namespace millrace
