// Each use of a flag is one more override, in the order of the command line.
#include "cli/override_flags.h"

namespace millrace {

void add_override(CLI::App& app, std::vector<Override>& overrides, const std::string& flag,
                  const std::string& setting, const std::string& help) {
  app.add_option_function<std::string>(
      flag,
      [&overrides, flag, setting](const std::string& value) {
        overrides.push_back({setting, value, flag});
      },
      help);
}

void add_switch(CLI::App& app, std::vector<Override>& overrides, const std::string& flag,
                const std::string& setting, const std::string& help) {
  app.add_flag_callback(
      flag,
      [&overrides, flag, setting] {
        overrides.push_back({setting, "true", flag});
      },
      help);
}

}  // namespace millrace
