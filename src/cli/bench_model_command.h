// The subcommand `bench model`.
#pragma once

#include <CLI/CLI.hpp>

namespace millrace {

// Adds it; its callback sets `status`.
void add_bench_model_command(CLI::App& bench, int& status);

}  // namespace millrace
