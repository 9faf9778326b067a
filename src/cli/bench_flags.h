// What the loads of millrace bench have in common: flags, progress, interruption, verdict.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "load/load_loop.h"

namespace CLI {
class App;
}  // namespace CLI

namespace millrace {

struct BenchFlags {
  std::string url;
  std::string model;
  std::string api_key;
  std::string arrival = "poisson";
  std::string json;
  std::vector<int> expected_statuses{200, 429};
  int concurrency = 32;
  std::optional<double> rate;
  int max_outstanding = 4000;
  double duration = 10;  // s, as the three below
  double warmup = 2;
  double timeout = 60;
  double abort_fraction = 0;
  std::optional<uint64_t> requests;
  std::optional<uint64_t> seed;
};

void add_flags(CLI::App& app, BenchFlags& flags);

// Fills `options` for a route of the server; without --model, `flags.model` becomes the first that
// the server lists.
void fill_options(BenchFlags& flags, const std::string& route, LoopOptions& options);

// The first Ctrl-C ends the measurement, and what there is gets reported; the second ends us.
void end_at_interrupt(LoopOptions& options);

// One live line a second on a terminal, one line in ten seconds elsewhere.
class LoadProgressLine {
 public:
  ~LoadProgressLine();
  void update(const LoadProgress& progress);

 private:
  int num_calls_ = 0;
  bool open_ = false;
};

// What makes a run a failure, as sentences: answers and requests that came to nothing.
std::vector<std::string> failures_of(const std::map<int, uint64_t>& statuses,
                                     const std::map<std::string, uint64_t>& failures,
                                     const std::vector<int>& expected);

// Prints the report and the failures, writes the JSON; returns the exit status.
int conclude(const BenchFlags& flags, const std::string& report, const std::string& json,
             const std::vector<std::string>& failures);

}  // namespace millrace
