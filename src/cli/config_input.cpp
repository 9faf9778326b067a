// Configs from files, directories and flags.
#include "cli/config_input.h"

#include <fmt/core.h>
#include <unistd.h>

#include "base/error.h"
#include "checkpoint/engine.h"
#include "checkpoint/source.h"

namespace millrace {

bool is_config_file(const std::string& what) {
  return what.ends_with(".yaml") || what.ends_with(".yml");
}

ConfigFile read_config(const std::string& path, Diagnostics& diagnostics) {
  ConfigFile config = load_config(path, diagnostics);
  if (diagnostics.has_errors() || is_engine(config.build.source.repo)) return config;
  const auto directory = open_source(config.build.source)->fetch({});
  const ModelConfig model = ModelConfig::from_hf(read_config_texts(directory), directory.string());
  check_architecture(config, model.architecture, diagnostics);
  return config;
}

ConfigFile read_config(const std::string& path) {
  Diagnostics diagnostics;
  ConfigFile config = read_config(path, diagnostics);
  fmt::print(stderr, "{}", render(diagnostics, ::isatty(STDERR_FILENO) == 1));
  if (diagnostics.has_errors()) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} cannot be used as it is", path),
                "docs/config.md describes every field and every code");
  }
  return config;
}

ConfigFile config_of(const std::string& what, const std::vector<Override>& overrides) {
  ConfigFile config = is_config_file(what) ? read_config(what) : config_for_model(what);
  for (const Override& over : overrides) set_option(config, over.setting, over.value, over.flag);
  return config;
}

}  // namespace millrace
