// Subcommands and flags, and the one place where errors become text and an exit status.
#include "cli/cli.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "base/version.h"
#include "cli/bench_command.h"
#include "cli/chat_command.h"
#include "cli/commands.h"
#include "cli/override_flags.h"

namespace millrace {

namespace {

void add_revision(CLI::App& app, std::vector<Override>& overrides) {
  add_override(app, overrides, "--revision", "trt_llm.build.checkpoint_repository.revision",
               "Of a repository: branch, tag, commit or refs/pr/N (main)");
}

void add_limits(CLI::App& app, std::vector<Override>& overrides) {
  add_override(app, overrides, "--max-seq-len", "trt_llm.build.max_seq_len",
               "Tokens per sequence (the engine's, or what the checkpoint allows)");
  add_override(app, overrides, "--max-batch-size", "trt_llm.build.max_batch_size",
               "Sequences per step (the engine's, or 256)");
  add_override(app, overrides, "--max-num-tokens", "trt_llm.build.max_num_tokens",
               "Tokens per step (the engine's, or 8192)");
}

void add_generation_settings(CLI::App& app, std::vector<Override>& overrides) {
  add_override(app, overrides, "--kv-cache-free-gpu-mem-fraction",
               "trt_llm.runtime.kv_cache_free_gpu_mem_fraction",
               "Of a GPU's free memory, what the KV cache takes (0.9)");
  add_override(app, overrides, "--kv-cache-bytes", "millrace.kv_cache_bytes",
               "Memory of the KV cache, instead of that (on the CPU: half of what is free)");
  add_override(app, overrides, "--kv-cache-host-memory-bytes",
               "trt_llm.runtime.kv_cache_host_memory_bytes",
               "Host memory for KV blocks that make room (none)");
  add_override(app, overrides, "--batch-scheduler-policy", "trt_llm.runtime.batch_scheduler_policy",
               "guaranteed_no_evict or max_utilization (guaranteed_no_evict)");
  add_override(app, overrides, "--request-default-max-tokens",
               "trt_llm.runtime.request_default_max_tokens",
               "Tokens of an answer whose request does not say (up to max_seq_len)");
}

void add_targets(CLI::App& app, const std::string& flag, std::vector<std::string>& targets,
                 const std::string& help) {
  app.add_option(flag, targets, help)->delimiter(',')->allow_extra_args(false);
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
  log::configure(log::Form::kText, spdlog::level::info);  // standard output is for results
  CLI::App app{"Millrace builds engines from Hugging Face checkpoints and serves them."};
  app.set_version_flag("--version", fmt::format("millrace {}", kVersion));
  app.require_subcommand(1);
  int status = 0;

  BuildCommand build;
  auto& build_app = *app.add_subcommand("build", "Build an engine directory from a checkpoint");
  auto* model = build_app.add_option("--model", build.model,
                                     "Checkpoint: a directory in Hugging Face layout, or a "
                                     "repository of the hub as owner/name");
  auto* config =
      build_app.add_option("--config", build.config, "A config.yaml that names the checkpoint");
  model->excludes(config);
  build_app.add_option("--output,-o", build.output, "The engine directory to write");
  add_targets(build_app, "--target", build.targets,
              "Compile kernels for these: sm_90a,sm_80,... or cpu (the config's accelerator)");
  add_targets(build_app, "--add-target", build.add_targets,
              "Compile kernels for these too and add them to ENGINE");
  build_app.add_option("engine", build.engine, "With --add-target: the engine to add to");
  add_override(build_app, build.overrides, "--dtype", "millrace.dtype",
               "Compute in auto, fp32, fp16 or bf16");
  add_limits(build_app, build.overrides);
  add_revision(build_app, build.overrides);
  build_app.callback([&] {
    if (build.add_targets.empty()) {
      if (!build.engine.empty()) throw CLI::ExtrasError({build.engine});
      if (build.model.empty() && build.config.empty())
        throw CLI::RequiredError("--model or --config");
      if (build.output.empty()) throw CLI::RequiredError("--output");
    } else {
      if (build.engine.empty()) throw CLI::RequiredError("the engine to add to");
    }
    status = run(build);
  });

  ServeCommand serve;
  auto& serve_app = *app.add_subcommand("serve", "Serve a model through the OpenAI API");
  serve_app
      .add_option("model", serve.what,
                  "An engine, a checkpoint directory, a repository of the hub or a config.yaml")
      ->required();
  add_revision(serve_app, serve.overrides);
  add_override(serve_app, serve.overrides, "--host", "millrace.host",
               "Address to listen on (127.0.0.1)");
  add_override(serve_app, serve.overrides, "--port", "millrace.port",
               "Port to listen on (8000; 0: any free one)");
  add_override(serve_app, serve.overrides, "--device", "millrace.device", "auto, cpu or cuda[:n]");
  add_override(serve_app, serve.overrides, "--dtype", "millrace.dtype",
               "Compute in auto, fp32, fp16 or bf16");
  add_switch(serve_app, serve.overrides, "--deterministic", "millrace.deterministic",
             "On a GPU: a result's bits do not depend on its batch");
  add_switch(serve_app, serve.overrides, "--enforce-eager", "millrace.enforce_eager",
             "On a GPU: no CUDA graphs");
  add_override(serve_app, serve.overrides, "--threads", "millrace.num_threads",
               "Compute threads (0: one per core)");
  add_limits(serve_app, serve.overrides);
  add_generation_settings(serve_app, serve.overrides);
  add_override(serve_app, serve.overrides, "--served-model-name",
               "trt_llm.runtime.served_model_name", "The model name of replies");
  add_override(serve_app, serve.overrides, "--api-key", "millrace.api_key",
               "A key that requests must carry (also MILLRACE_API_KEY)");
  add_override(serve_app, serve.overrides, "--api-key-file", "millrace.api_key_file",
               "A file of such keys, one a line");
  add_switch(serve_app, serve.overrides, "--allow-unauthenticated",
             "millrace.allow_unauthenticated", "Listen beyond this machine without a key");
  add_switch(serve_app, serve.overrides, "--strict-fields", "millrace.strict_fields",
             "Refuse requests with fields that Millrace does not know");
  add_switch(serve_app, serve.overrides, "--force-include-usage", "millrace.force_include_usage",
             "End every stream with its usage");
  add_override(serve_app, serve.overrides, "--max-client-batch-size",
               "millrace.max_client_batch_size", "Inputs per request (128)");
  add_override(serve_app, serve.overrides, "--max-concurrent-requests",
               "millrace.max_concurrent_requests", "Requests in flight (2048); beyond: 429");
  add_override(serve_app, serve.overrides, "--max-queue-time-s", "millrace.max_queue_time_s",
               "Seconds in the queue, estimated (10); beyond: 429");
  add_override(serve_app, serve.overrides, "--log-format", "millrace.log_format",
               "auto, text or json");
  add_override(serve_app, serve.overrides, "--log-level", "millrace.log_level",
               "debug, info, warn or error");
  serve_app.callback([&] { status = run(serve); });

  InspectCommand inspect;
  auto& inspect_app = *app.add_subcommand("inspect", "Show what an engine holds");
  inspect_app.add_option("engine", inspect.engine, "An engine directory")->required();
  inspect_app.add_flag("--json", inspect.json, "Print JSON");
  inspect_app.callback([&] { status = run(inspect); });

  PlanCommand plan;
  auto& plan_app = *app.add_subcommand("plan", "Say what a model would need, without building it");
  plan_app
      .add_option("model", plan.what,
                  "A checkpoint directory, a repository of the hub or a config.yaml")
      ->required();
  add_revision(plan_app, plan.overrides);
  plan_app.add_flag("--json", plan.json, "Print JSON");
  add_override(plan_app, plan.overrides, "--dtype", "millrace.dtype",
               "Compute in auto, fp32, fp16 or bf16");
  plan_app.add_flag("--kernels", plan.kernels, "List the kernels that a GPU would need");
  add_targets(plan_app, "--target", plan.targets,
              "Architectures of --kernels: sm_90a,sm_80,... (the config's accelerator)");
  plan_app.callback([&] { status = run(plan); });

  ValidateCommand validate;
  auto& validate_app = *app.add_subcommand("validate", "Check a config.yaml");
  validate_app.add_option("config", validate.config, "The file")->required();
  validate_app.add_flag("--json", validate.json, "Print JSON");
  validate_app.callback([&] { status = run(validate); });

  add_bench_command(app, status);
  add_chat_command(app, status);

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
