// Subcommands and flags, and the one place where errors become text and an exit status.
#include "cli/cli.h"

#include <fmt/core.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/version.h"
#include "cli/commands.h"

namespace millrace {

namespace {

// Logs go to standard error; standard output is for results.
void set_up_logs() {
  auto logger = spdlog::stderr_color_mt("millrace");
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  spdlog::set_default_logger(std::move(logger));
}

// A flag that overrides a setting of config.yaml.
void add_override(CLI::App& app, std::vector<Override>& overrides, const std::string& flag,
                  const std::string& setting, const std::string& help) {
  app.add_option_function<std::string>(
      flag,
      [&overrides, flag, setting](const std::string& value) {
        overrides.push_back({setting, value, flag});
      },
      help);
}

int exit_status(ErrorCode code) {
  return code == ErrorCode::kInvalidArgument || code == ErrorCode::kUnsupported ? 2 : 1;
}

int report(const Error& error) {
  fmt::print(stderr, "millrace: error: {}\n", error.message());
  if (!error.hint().empty()) fmt::print(stderr, "  help: {}\n", error.hint());
  return exit_status(error.code());
}

}  // namespace

int run_cli(int argc, char** argv) {
  set_up_logs();
  CLI::App app{"Millrace builds engines from Hugging Face checkpoints and serves them."};
  app.set_version_flag("--version", fmt::format("millrace {}", kVersion));
  app.require_subcommand(1);
  int status = 0;

  BuildCommand build;
  auto& build_app = *app.add_subcommand("build", "Build an engine directory from a checkpoint");
  auto* model = build_app.add_option("--model", build.model,
                                     "Checkpoint: a directory in Hugging Face layout");
  auto* config =
      build_app.add_option("--config", build.config, "A config.yaml that names the checkpoint");
  model->excludes(config);
  build_app.add_option("--output,-o", build.output, "The engine directory to write")->required();
  add_override(build_app, build.overrides, "--dtype", "millrace.dtype",
               "Compute in auto, fp32 or bf16");
  build_app.callback([&] {
    if (build.model.empty() && build.config.empty())
      throw CLI::RequiredError("--model or --config");
    status = run(build);
  });

  ServeCommand serve;
  auto& serve_app = *app.add_subcommand("serve", "Serve a model through the OpenAI API");
  serve_app.add_option("model", serve.what, "An engine, a checkpoint directory or a config.yaml")
      ->required();
  add_override(serve_app, serve.overrides, "--host", "millrace.host",
               "Address to listen on (127.0.0.1)");
  add_override(serve_app, serve.overrides, "--port", "millrace.port",
               "Port to listen on (8000; 0: any free one)");
  add_override(serve_app, serve.overrides, "--device", "millrace.device", "auto, cpu or cuda[:n]");
  add_override(serve_app, serve.overrides, "--dtype", "millrace.dtype",
               "Compute in auto, fp32 or bf16");
  add_override(serve_app, serve.overrides, "--threads", "millrace.num_threads",
               "Compute threads (0: one per core)");
  add_override(serve_app, serve.overrides, "--served-model-name",
               "trt_llm.runtime.served_model_name", "The model name of replies");
  serve_app.callback([&] { status = run(serve); });

  InspectCommand inspect;
  auto& inspect_app = *app.add_subcommand("inspect", "Show what an engine holds");
  inspect_app.add_option("engine", inspect.engine, "An engine directory")->required();
  inspect_app.add_flag("--json", inspect.json, "Print JSON");
  inspect_app.callback([&] { status = run(inspect); });

  PlanCommand plan;
  auto& plan_app = *app.add_subcommand("plan", "Say what a model would need, without building it");
  plan_app.add_option("model", plan.what, "A checkpoint directory or a config.yaml")->required();
  plan_app.add_flag("--json", plan.json, "Print JSON");
  plan_app.callback([&] { status = run(plan); });

  ValidateCommand validate;
  auto& validate_app = *app.add_subcommand("validate", "Check a config.yaml");
  validate_app.add_option("config", validate.config, "The file")->required();
  validate_app.add_flag("--json", validate.json, "Print JSON");
  validate_app.callback([&] { status = run(validate); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const Error& error) {
    return report(error);
  } catch (const std::exception& error) {
    fmt::print(stderr, "millrace: internal error: {}\n  help: please report this as a bug\n",
               error.what());
    return 1;
  }
  return status;
}

}  // namespace millrace
