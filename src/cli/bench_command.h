// millrace bench: load against a server.
#pragma once

namespace CLI {
class App;
}  // namespace CLI

namespace millrace {

// Adds the subcommand; running it sets `status`. Both arguments outlive the parsing.
void add_bench_command(CLI::App& app, int& status);

void add_bench_embed(CLI::App& bench, int& status);
void add_bench_serve(CLI::App& bench, int& status);

}  // namespace millrace
