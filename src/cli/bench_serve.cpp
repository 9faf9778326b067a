// millrace bench serve: load of generation on a server of the OpenAI API.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/bench_command.h"
#include "cli/bench_flags.h"
#include "load/generation_run.h"

namespace millrace {

namespace {

struct BenchServeCommand {
  BenchFlags flags;
  std::string route = "/v1/chat/completions";
  std::string input_tokens = "512";
  std::string output_tokens = "128";
  std::string file;
  std::vector<std::string> limits;
  int shared_prefix = 0;
  std::optional<double> temperature;
  bool natural_ends = false;
  bool whole_answers = false;
};

GenerationLoadOptions load_options(BenchServeCommand& command) {
  const bool chat = command.route.ends_with("/chat/completions");
  if (!command.route.starts_with('/') || !command.route.ends_with("/completions")) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--route {} is not a route that bench serve knows", command.route),
                "use /v1/chat/completions or /v1/completions");
  }
  GenerationLoadOptions options;
  options.workload = {.chat = chat,
                      .input = LengthMix(command.input_tokens),
                      .output = LengthMix(command.output_tokens),
                      .shared_prefix = command.shared_prefix,
                      .ignore_eos = !command.natural_ends,
                      .stream = !command.whole_answers,
                      .temperature = command.temperature,
                      .seed = command.flags.seed.value_or(std::random_device()())};
  if (!command.file.empty()) options.workload.prompts = read_prompts(command.file);
  for (const std::string& limit : command.limits) add_limit(options.slo, limit);
  if (command.whole_answers && (options.slo.ttft_ms || options.slo.tpot_ms)) {
    throw Error(ErrorCode::kInvalidArgument, "without a stream nobody sees the first token",
                "leave out --no-stream, or limit e2e alone");
  }
  fill_options(command.flags, command.route, options);
  options.workload.model = command.flags.model;
  return options;
}

int run(BenchServeCommand& command) {
  GenerationLoadOptions options = load_options(command);
  end_at_interrupt(options);
  GenerationReport report;
  {
    LoadProgressLine line;
    report =
        run_generation_load(options, [&](const LoadProgress& progress) { line.update(progress); });
  }
  auto failures = failures_of(report.statuses, report.failures, command.flags.expected_statuses);
  if (report.statuses.empty() && report.failures.empty() && report.num_aborted == 0) {
    failures.emplace_back("nothing was answered");
  }
  return conclude(command.flags, render(report), to_json(report), failures);
}

}  // namespace

void add_bench_serve(CLI::App& bench, int& status) {
  auto& app = *bench.add_subcommand(
      "serve", "Generated text: time to the first token and between tokens, tokens a second");
  const auto command = std::make_shared<BenchServeCommand>();
  command->flags.timeout = 600;
  add_flags(app, command->flags);
  app.add_option("--route", command->route,
                 "/v1/chat/completions or /v1/completions (/v1/chat/completions)");
  auto* input = app.add_option("--input-tokens,-i", command->input_tokens,
                               "Tokens of a prompt, of random words: 512, 64-1024 or "
                               "64:9,2048-4096:1 (512)");
  app.add_option("--output-tokens,-o", command->output_tokens,
                 "Tokens of an answer, written in the same way (128)");
  app.add_option("--file", command->file,
                 "Prompts to draw from: a line each, or .jsonl with prompts or conversations")
      ->excludes(input);
  app.add_option("--shared-prefix", command->shared_prefix,
                 "Tokens that all prompts begin with, before their own (0)")
      ->check(CLI::Range(0, 100'000));
  app.add_option("--temperature", command->temperature, "Of sampling (the server's default)")
      ->check(CLI::Range(0.0, 2.0));
  app.add_flag("--natural-ends", command->natural_ends,
               "Answers may end before --output-tokens (without it the body has ignore_eos)");
  app.add_flag("--no-stream", command->whole_answers, "Ask for whole answers");
  app.add_option("--goodput", command->limits,
                 "Limits in ms that a good answer holds: ttft:200 tpot:50 e2e:5000");
  app.callback([command, &status] { status = run(*command); });
}

}  // namespace millrace
