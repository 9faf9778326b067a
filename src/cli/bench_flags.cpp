// Flags into LoopOptions, the progress line, and the end of a run.
#include "cli/bench_flags.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>

#include "base/file.h"
#include "cli/ctrl_c.h"
#include "client/server_address.h"

namespace millrace {

void add_flags(CLI::App& app, BenchFlags& flags) {
  app.add_option("url", flags.url, "The server: http://host:port, Millrace or any other")
      ->required();
  app.add_option("--model", flags.model, "Model to ask for (the first that the server lists)");
  app.add_option("--api-key", flags.api_key,
                 "Sent as a bearer token (MILLRACE_API_KEY or OPENAI_API_KEY of the environment)");

  auto* concurrency = app.add_option("--concurrency,-c", flags.concurrency,
                                     "Closed loop: connections that each send, wait, send again "
                                     "(32)")
                          ->check(CLI::Range(1, 1'000'000));
  auto* rate = app.add_option("--rate,-r", flags.rate,
                              "Open loop: requests a second, whatever the server does")
                   ->check(CLI::Range(1e-3, 1e7))
                   ->excludes(concurrency);
  app.add_option("--arrival", flags.arrival, "Of an open loop: poisson or constant (poisson)")
      ->check(CLI::IsMember({"poisson", "constant"}))
      ->needs(rate);
  app.add_option("--max-outstanding", flags.max_outstanding,
                 "Of an open loop: requests out at a time; what is due beyond is counted and not "
                 "sent (4000)")
      ->check(CLI::Range(1, 1'000'000))
      ->needs(rate);

  auto* duration = app.add_option("--duration,-d", flags.duration, "Seconds to measure (10)")
                       ->check(CLI::Range(0.1, 1e6));
  app.add_option("--requests,-n", flags.requests, "Requests to measure, instead of --duration")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40))
      ->excludes(duration);
  app.add_option("--warmup", flags.warmup, "Seconds of load before the measurement (2)")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--timeout", flags.timeout,
                 fmt::format("Seconds for one request ({:g})", flags.timeout))
      ->check(CLI::Range(1e-3, 1e6));
  app.add_option("--seed", flags.seed, "Of inputs, arrivals and aborts (random, and printed)");
  app.add_option("--abort-fraction", flags.abort_fraction,
                 "Share of requests whose connection is closed before the answer (0)")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--expect-status", flags.expected_statuses,
                 "Statuses that are no failure of the run (200,429)")
      ->delimiter(',');
  app.add_option("--json", flags.json, "Write the report to this file as JSON");
}

void fill_options(BenchFlags& flags, const std::string& route, LoopOptions& options) {
  options.server = http::parse_base_url(flags.url);
  options.path = route_path(options.server, route);
  options.headers = key_headers(flags.api_key);
  options.concurrency = flags.concurrency;
  options.rate = flags.rate;
  options.arrival = *arrival_kind_from_name(flags.arrival);
  options.max_outstanding = flags.max_outstanding;
  options.warmup = std::chrono::duration<double>(flags.warmup);
  options.duration = std::chrono::duration<double>(flags.duration);
  options.num_requests = flags.requests;
  options.abort_fraction = flags.abort_fraction;
  options.timeout = std::chrono::milliseconds(static_cast<int64_t>(1000 * flags.timeout));
  if (flags.model.empty()) flags.model = served_model(options.server, options.headers);
}

void end_at_interrupt(LoopOptions& options) {
  options.interrupted = &ctrl_c_pressed;
  std::signal(SIGINT, [](int) {
    ctrl_c_pressed = true;
    std::signal(SIGINT, SIG_DFL);
  });
}

LoadProgressLine::~LoadProgressLine() {
  if (open_) fmt::print(stderr, "\r\x1b[K");
}

void LoadProgressLine::update(const LoadProgress& progress) {
  constexpr int kPlainEvery = 10;
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  ++num_calls_;
  if (!terminal && num_calls_ % kPlainEvery != 0) return;
  const bool generates = progress.tokens_per_s > 0 || progress.first_token.count() > 0;
  const Histogram& latency = generates ? progress.first_token : progress.latency;
  const std::string line = fmt::format(
      "{:4.0f} s{}  {:8.1f} requests/s{}  {}p50 {:.1f} ms  p99 {:.1f} ms  {} out  {} refused  {} "
      "failed",
      progress.elapsed, progress.warming_up ? " warm-up" : "", progress.requests_per_s,
      generates ? fmt::format("  {:8.1f} tokens/s", progress.tokens_per_s) : "",
      generates ? "first token " : "", milliseconds(latency.percentile(50)),
      milliseconds(latency.percentile(99)), progress.outstanding, progress.num_refused,
      progress.num_failed);
  if (terminal) {
    open_ = true;
    fmt::print(stderr, "\r\x1b[K{}", line);
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
}

std::vector<std::string> failures_of(const std::map<int, uint64_t>& statuses,
                                     const std::map<std::string, uint64_t>& failures,
                                     const std::vector<int>& expected) {
  std::vector<std::string> found;
  for (const auto& [status, count] : statuses) {
    if (std::ranges::find(expected, status) != expected.end()) continue;
    found.push_back(fmt::format("{} answers had the unexpected status {}", count, status));
  }
  for (const auto& [kind, count] : failures) {
    found.push_back(fmt::format("{} requests got no answer: {}", count, kind));
  }
  return found;
}

int conclude(const BenchFlags& flags, const std::string& report, const std::string& json,
             const std::vector<std::string>& failures) {
  fmt::print("{}", report);
  if (!flags.json.empty()) write_file(flags.json, json);
  for (const std::string& failure : failures) fmt::print(stderr, "millrace: {}\n", failure);
  return failures.empty() ? 0 : 1;
}

}  // namespace millrace
