// millrace bench and its subcommands.
#include "cli/bench_command.h"

#include <CLI/CLI.hpp>

#include "cli/bench_model_command.h"

namespace millrace {

void add_bench_command(CLI::App& app, int& status) {
  auto& bench = *app.add_subcommand("bench", "Measure a server under load, or a model");
  bench.require_subcommand(1);
  add_bench_embed(bench, status);
  add_bench_serve(bench, status);
  add_bench_model_command(bench, status);
}

}  // namespace millrace
