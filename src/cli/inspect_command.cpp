// millrace inspect: an engine as a table or as JSON.
#include <fmt/core.h>

#include <map>
#include <thread>

#include "base/json.h"
#include "checkpoint/engine.h"
#include "cli/commands.h"
#include "cli/progress.h"

namespace millrace {

namespace {

json::object to_json(const Engine& engine, const ModelConfig& model) {
  json::array files;
  for (const FileIdentity& file : engine.manifest.files) {
    files.push_back(json::object{{"name", file.name}, {"bytes", file.bytes}});
  }
  json::object formats;
  for (const auto& [path, format] : engine.manifest.formats) formats[path] = format;
  return {{"path", engine.files.path.string()},
          {"format_version", engine.manifest.format_version},
          {"millrace_version", engine.manifest.millrace_version},
          {"architecture", engine.manifest.architecture},
          {"targets", json::array(engine.manifest.targets.begin(), engine.manifest.targets.end())},
          {"checkpoint_dtype", to_string(model.dtype)},
          {"compute_dtype", to_string(engine.files.build.dtype)},
          {"num_layers", model.num_layers},
          {"hidden_size", model.hidden_size},
          {"num_tensors", engine.files.weights.names().size()},
          {"weight_bytes", engine.files.weights.bytes()},
          {"max_seq_len", *engine.files.build.max_seq_len},
          {"max_batch_size", engine.files.build.max_batch_size},
          {"max_num_tokens", engine.files.build.max_num_tokens},
          {"files", std::move(files)},
          {"formats", std::move(formats)}};
}

void print_table(const Engine& engine, const ModelConfig& model) {
  const BuildConfig& build = engine.files.build;
  const auto row = [](std::string_view name, const std::string& value) {
    fmt::print("{:<18} {}\n", name, value);
  };
  row("engine", engine.files.path.string());
  row("format", fmt::format("{}, written by millrace {}", engine.manifest.format_version,
                            engine.manifest.millrace_version));
  row("architecture",
      fmt::format("{}: {} layers, hidden {}, {} heads of {}", model.architecture, model.num_layers,
                  model.hidden_size, model.num_heads, model.head_dim));
  row("targets", fmt::format("{}", fmt::join(engine.manifest.targets, ", ")));
  row("dtype",
      fmt::format("{} as found, computes in {}", to_string(model.dtype), to_string(build.dtype)));
  row("weights", fmt::format("{} tensors, {}", engine.files.weights.names().size(),
                             human_bytes(engine.files.weights.bytes())));
  row("limits", fmt::format("{} tokens per input, {} sequences and {} tokens per step",
                            *build.max_seq_len, build.max_batch_size, build.max_num_tokens));
  std::map<std::string, int> formats;
  for (const auto& [path, format] : engine.manifest.formats) ++formats[format];
  for (const auto& [format, count] : formats)
    row("weight format", fmt::format("{}: {} matrices", format, count));
  fmt::print("\n{:<40} {:>12}  {}\n", "file", "size", "sha256 of its first piece");
  for (const FileIdentity& file : engine.manifest.files) {
    fmt::print("{:<40} {:>12}  {:.16}\n", file.name, human_bytes(static_cast<int64_t>(file.bytes)),
               file.sha256.front());
  }
}

}  // namespace

int run(const InspectCommand& command) {
  ThreadPool pool(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  const Engine engine = Engine::open(command.engine, pool);
  const ModelConfig model = ModelConfig::from_hf(engine.files.config_texts, command.engine);
  if (command.json) {
    fmt::print("{}", json::to_pretty_text(to_json(engine, model)));
  } else {
    print_table(engine, model);
  }
  return 0;
}

}  // namespace millrace
