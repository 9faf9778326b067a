// millrace build.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <thread>

#include "build/builder.h"
#include "cli/commands.h"
#include "cli/config_input.h"
#include "cli/progress.h"
#include "models/plan.h"
#include "ops/cuda_backend.h"

namespace millrace {

namespace {

// An accelerator that a config.yaml names is a wish: where its kernels cannot be compiled here, the
// engine is built without them and says so. A target asked for by flag is an order.
void drop_targets_that_cannot_be_compiled(BuildConfig& build) {
  try {
    for (const std::string& target : build.targets) require_arch(target);
    if (!build.targets.empty()) load_cuda_backend().compiler();
  } catch (const Error& error) {
    fmt::print(stderr,
               "millrace: warning: no kernels for {}: {}\n  help: {}; kernels can be added to the "
               "engine later with millrace build --add-target\n",
               fmt::join(build.targets, ", "), error.message(), error.hint());
    build.targets.clear();
  }
}

BuildProgress progress_to(ProgressPrinter& printer) {
  return {.report = [&printer](const std::string& stage, uint64_t done, uint64_t total,
                               const std::string& detail) {
    printer.update(stage, done, total, detail);
  }};
}

}  // namespace

int run(const BuildCommand& command) {
  ThreadPool pool(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  const auto begin = Clock::now();
  if (!command.add_targets.empty()) {
    {
      ProgressPrinter printer;
      add_targets(command.engine, command.add_targets, pool, progress_to(printer));
    }
    fmt::print("added kernels for {} to {} in {:.1f} s\n", fmt::join(command.add_targets, ", "),
               command.engine, seconds(Clock::now() - begin));
    return 0;
  }
  const ConfigFile config =
      config_of(command.config.empty() ? command.model : command.config, command.overrides);
  BuildConfig build = config.build;
  if (build.dtype == ComputeDType::kAuto) build.dtype = config.runtime.dtype;
  if (command.targets.empty()) {
    drop_targets_that_cannot_be_compiled(build);
  } else {
    build.targets = command.targets;
  }
  BuildResult result;
  {
    ProgressPrinter printer;
    result = build_engine(build, command.output, pool, progress_to(printer));
  }
  fmt::print("built {} in {:.1f} s: {} parameters, {} of weights, {} of activations at most\n",
             result.engine.string(), seconds(Clock::now() - begin),
             human_count(result.num_parameters), human_bytes(result.weight_bytes),
             human_bytes(result.activation_bytes));
  return 0;
}

}  // namespace millrace
