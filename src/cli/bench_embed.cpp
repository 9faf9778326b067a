// millrace bench embed: load on the routes of encoders.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/bench_command.h"
#include "cli/bench_flags.h"
#include "load/load_run.h"

namespace millrace {

namespace {

constexpr size_t kNumProbes = 8;

struct BenchEmbedCommand {
  BenchFlags flags;
  std::string route = "/v1/embeddings";
  std::string encoding_format;
  std::string tokens = "5";
  std::string file;
  int inputs_per_request = 1;
  bool check = false;
};

EncoderLoadOptions load_options(BenchEmbedCommand& command) {
  const auto route = load_route_from_path(command.route);
  if (!route || !command.route.starts_with('/')) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--route {} is not a route that bench embed knows", command.route),
                "use /v1/embeddings, /embed, /rerank or /predict");
  }
  EncoderLoadOptions options;
  options.workload = {.route = *route,
                      .encoding_format = command.encoding_format,
                      .inputs_per_request = command.inputs_per_request,
                      .lengths = LengthMix(command.tokens),
                      .seed = command.flags.seed.value_or(std::random_device()())};
  if (!command.file.empty()) options.workload.texts = read_texts(command.file);
  options.num_probes = command.check ? kNumProbes : 0;
  fill_options(command.flags, command.route, options);
  options.workload.model = command.flags.model;
  return options;
}

int run(BenchEmbedCommand& command) {
  EncoderLoadOptions options = load_options(command);
  end_at_interrupt(options);
  LoadReport report;
  {
    LoadProgressLine line;
    report = run_load(options, [&](const LoadProgress& progress) { line.update(progress); });
  }
  auto failures = failures_of(report.statuses, report.failures, command.flags.expected_statuses);
  if (report.check.num_different > 0) {
    failures.push_back(fmt::format("{} of {} repeated answers differ from the first",
                                   report.check.num_different, report.check.num_compared));
  }
  if (report.check.num_missing > 0) {
    failures.push_back(fmt::format("{} of {} inputs have no first or last answer to compare",
                                   report.check.num_missing, report.check.num_probes));
  }
  if (report.statuses.empty() && report.num_aborted == 0) {
    failures.emplace_back("nothing was answered");
  }
  return conclude(command.flags, render(report), to_json(report), failures);
}

}  // namespace

void add_bench_embed(CLI::App& bench, int& status) {
  auto& app =
      *bench.add_subcommand("embed", "Embeddings, scores or labels: rates, latencies, statuses");
  const auto command = std::make_shared<BenchEmbedCommand>();
  add_flags(app, command->flags);
  app.add_option("--route", command->route,
                 "/v1/embeddings, /embed, /rerank or /predict (/v1/embeddings)");
  app.add_option("--encoding-format", command->encoding_format, "float or base64, of embeddings")
      ->check(CLI::IsMember({"float", "base64"}));
  app.add_option("--inputs-per-request,-i", command->inputs_per_request, "Texts per request (1)")
      ->check(CLI::Range(1, 100'000));
  auto* tokens = app.add_option("--tokens,-t", command->tokens,
                                "Tokens per text, of random words: 5, 5-510 or 5:9,200-510:1 (5)");
  app.add_option("--file", command->file, "Texts to draw from: a line each, or .jsonl")
      ->excludes(tokens);
  app.add_flag("--check", command->check,
               "Ask for eight texts again and again; their answers must stay equal");
  app.callback([command, &status] { status = run(*command); });
}

}  // namespace millrace
