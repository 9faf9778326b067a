// millrace build.
#include <fmt/core.h>

#include <thread>

#include "build/builder.h"
#include "cli/commands.h"
#include "cli/config_input.h"
#include "cli/progress.h"

namespace millrace {

int run(const BuildCommand& command) {
  const ConfigFile config =
      config_of(command.config.empty() ? command.model : command.config, command.overrides);
  BuildConfig build = config.build;
  if (build.dtype == ComputeDType::kAuto) build.dtype = config.runtime.dtype;
  ThreadPool pool(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  const auto begin = Clock::now();
  BuildResult result;
  {
    ProgressPrinter printer;
    result = build_engine(
        build, command.output, pool,
        {.report = [&](const std::string& stage, uint64_t done, uint64_t total,
                       const std::string& detail) { printer.update(stage, done, total, detail); }});
  }
  fmt::print("built {} in {:.1f} s: {} parameters, {} of weights, {} of activations at most\n",
             result.engine.string(), seconds(Clock::now() - begin),
             human_count(result.num_parameters), human_bytes(result.weight_bytes),
             human_bytes(result.activation_bytes));
  return 0;
}

}  // namespace millrace
