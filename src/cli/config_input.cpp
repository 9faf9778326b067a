// Configs from files, directories and flags.
#include "cli/config_input.h"

#include <fmt/core.h>
#include <unistd.h>

#include "base/error.h"
#include "checkpoint/engine.h"
#include "checkpoint/source.h"
#include "cli/progress.h"
#include "models/registry.h"

namespace millrace {

bool is_config_file(const std::string& what) {
  return what.ends_with(".yaml") || what.ends_with(".yml");
}

void check_checkpoint(const ConfigFile& config, Diagnostics& diagnostics) {
  if (is_engine(config.build.source.repo)) return;
  const auto directory = open_source(config.build.source)->fetch_configs({});
  const ModelConfig model = ModelConfig::from_hf(read_config_texts(directory), directory.string());
  check_architecture(config, model.architecture, diagnostics);
}

namespace {

ConfigFile read_config(const std::string& path) {
  Diagnostics diagnostics;
  ConfigFile config = load_config(path, diagnostics);
  if (!diagnostics.has_errors()) check_checkpoint(config, diagnostics);
  fmt::print(stderr, "{}", render(diagnostics, ::isatty(STDERR_FILENO) == 1));
  if (diagnostics.has_errors()) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} cannot be used as it is", path),
                "docs/config.md describes every field and every code");
  }
  return config;
}

}  // namespace

ConfigFile config_of(const std::string& what, const std::vector<Override>& overrides) {
  constexpr std::string_view kRevision = "trt_llm.build.checkpoint_repository.revision";
  ConfigFile config = is_config_file(what) ? read_config(what) : config_for_model(what);
  const ModelSource& source = config.build.source;
  for (const Override& over : overrides) {
    if (over.setting == kRevision && source.kind == SourceKind::kLocal) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{} is for repositories, and {} is a directory of this machine",
                              over.flag, source.repo),
                  fmt::format("leave {} out", over.flag));
    }
    set_option(config, over.setting, over.value, over.flag);
  }
  // The directory of a snapshot is named by its commit, which tells clients nothing.
  if (source.kind == SourceKind::kHuggingFace && config.runtime.served_model_name.empty())
    config.runtime.served_model_name = source.repo;
  return config;
}

std::filesystem::path fetch_model(const BuildConfig& build) {
  const auto source = open_source(build.source);
  if (build.source.kind == SourceKind::kLocal) return source->fetch({});
  ProgressPrinter printer;
  const FetchProgress progress = [&](const std::string& file, uint64_t done, uint64_t total) {
    printer.update("fetch " + build.source.repo, done, total, file);
  };
  const auto directory = source->fetch_configs(progress);
  const ModelConfig model = ModelConfig::from_hf(read_config_texts(directory), directory.string());
  find_model(model.architecture);
  return source->fetch(progress);
}

}  // namespace millrace
