// millrace bench model: rates of a decoder without a server.
#include "cli/bench_model_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/config_input.h"
#include "cli/override_flags.h"
#include "runtime/model_bench.h"

namespace millrace {

namespace {

struct BenchModelCommand {
  std::string what;
  std::vector<Override> overrides;
  std::optional<uint64_t> random_weights;
  std::string json;
  ModelBenchOptions options;
};

// Nothing is fetched for random weights: config.json is enough.
std::filesystem::path directory_of(const BenchModelCommand& command, const ConfigFile& config) {
  if (!command.random_weights || config.build.source.kind != SourceKind::kLocal)
    return fetch_model(config.build);
  return config.build.source.repo;
}

int run(const BenchModelCommand& command) {
  const ConfigFile config = config_of(command.what, command.overrides);
  const RuntimeConfig& runtime = config.runtime;
  const auto model =
      LoadedModel::open(directory_of(command, config), {.device = runtime.device,
                                                        .dtype = runtime.dtype,
                                                        .num_threads = runtime.num_threads,
                                                        .build = config.build,
                                                        .limits = limits_of(command.options),
                                                        .generation = runtime.generation,
                                                        .random_weights = command.random_weights,
                                                        .deterministic = runtime.deterministic,
                                                        .enforce_eager = runtime.enforce_eager});
  ModelBenchReport report = run_model_bench(
      *model, command.options, [](const std::string& size) { fmt::print(stderr, "{}\n", size); });
  report.random_weights = command.random_weights.has_value();
  fmt::print("{}", render(report));
  if (!command.json.empty()) write_file(command.json, to_json(report));
  return 0;
}

void add_sizes(CLI::App& app, const std::string& flag, std::vector<int64_t>& sizes,
               const std::string& help) {
  app.add_option(flag, sizes, help)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
}

}  // namespace

void add_bench_model_command(CLI::App& bench, int& status) {
  auto& app = *bench.add_subcommand("model", "A decoder without a server: prefill, decode, TTFT");
  const auto command = std::make_shared<BenchModelCommand>();
  app.add_option("model", command->what,
                 "An engine, a checkpoint directory, a repository of the hub or a config.yaml")
      ->required();
  std::vector<Override>& overrides = command->overrides;
  app.add_option("--random-weights", command->random_weights,
                 "Make weights up from this seed: config.json alone is needed");
  add_override(app, overrides, "--device", "millrace.device", "auto, cpu or cuda[:n]");
  add_override(app, overrides, "--dtype", "millrace.dtype", "Compute in auto, fp32, fp16 or bf16");
  add_override(app, overrides, "--threads", "millrace.num_threads",
               "Compute threads (0: one per core)");
  add_override(app, overrides, "--kv-cache-bytes", "millrace.kv_cache_bytes",
               "Memory of the KV cache");
  add_switch(app, overrides, "--deterministic", "millrace.deterministic",
             "On a GPU: bits that do not depend on the batch");
  add_switch(app, overrides, "--enforce-eager", "millrace.enforce_eager",
             "On a GPU: no CUDA graphs");
  ModelBenchOptions& options = command->options;
  add_sizes(app, "--prompts", options.prompts, "Tokens of prompts (128,512)");
  add_sizes(app, "--batch-sizes", options.batch_sizes, "Sequences that decode (1,2,4,8,16)");
  add_sizes(app, "--contexts", options.contexts, "Tokens of each of them (64,1024)");
  app.add_option("--steps", options.num_steps, "Steps measured of each size (15)")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--json", command->json, "Write the report to this file as JSON");
  app.callback([command, &status] { status = run(*command); });
}

}  // namespace millrace
