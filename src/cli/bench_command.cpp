// millrace bench embed: flags into LoadOptions, progress, the report, and what counts as a failure.
#include "cli/bench_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/bench_model_command.h"
#include "http/client.h"
#include "load/load_run.h"

namespace millrace {

namespace {

constexpr size_t kNumProbes = 8;

struct BenchEmbedCommand {
  std::string url;
  std::string route = "/v1/embeddings";
  std::string model;
  std::string api_key;
  std::string encoding_format;
  std::string tokens = "5";
  std::string file;
  std::string arrival = "poisson";
  std::string json;
  std::vector<int> expected_statuses{200, 429};
  int inputs_per_request = 1;
  int concurrency = 32;
  std::optional<double> rate;
  int max_outstanding = 4000;
  double duration = 10;
  double warmup = 2;
  double timeout = 60;
  double abort_fraction = 0;
  std::optional<uint64_t> requests;
  std::optional<uint64_t> seed;
  bool check = false;
};

std::atomic<bool> interrupted{false};  // global, because signal handlers reach nothing else

// The first Ctrl-C ends the measurement, and what there is gets reported; the second ends us.
void end_at_interrupt() {
  std::signal(SIGINT, [](int) {
    interrupted = true;
    std::signal(SIGINT, SIG_DFL);
  });
}

std::string api_key_of(const BenchEmbedCommand& command) {
  if (!command.api_key.empty()) return command.api_key;
  for (const char* name : {"MILLRACE_API_KEY", "OPENAI_API_KEY"}) {
    if (const char* value = std::getenv(name); value && *value) return value;
  }
  return {};
}

// The address with the route behind it; an address that ends in /v1, as OpenAI's clients want it,
// does not get a second one.
std::string full_path(const std::string& prefix, const std::string& route) {
  constexpr std::string_view kVersion = "/v1";
  if (prefix.ends_with(kVersion) && route.starts_with("/v1/")) {
    return prefix + route.substr(kVersion.size());
  }
  return prefix + route;
}

// The first model that the server lists; empty where it has no such route.
std::string served_model(const LoadOptions& options) {
  http::Client client(options.server.host, options.server.port);
  const http::Response response =
      client.request("GET", full_path(options.server.prefix, "/v1/models"), options.headers);
  if (response.status != 200) return {};
  try {
    const json::value listed = json::parse(response.body, "/v1/models");
    return std::string(listed.at("data").at(0).at("id").as_string());
  } catch (const std::exception&) {
    return {};
  }
}

LoadOptions load_options(const BenchEmbedCommand& command) {
  LoadOptions options;
  options.server = http::parse_base_url(command.url);
  options.path = full_path(options.server.prefix, command.route);
  const auto route = load_route_from_path(command.route);
  if (!route || !command.route.starts_with('/')) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--route {} is not a route that bench embed knows", command.route),
                "use /v1/embeddings, /embed, /rerank or /predict");
  }
  if (const std::string key = api_key_of(command); !key.empty()) {
    options.headers.add("authorization", "Bearer " + key);
  }
  options.workload = {.route = *route,
                      .model = command.model,
                      .encoding_format = command.encoding_format,
                      .inputs_per_request = command.inputs_per_request,
                      .lengths = LengthMix(command.tokens),
                      .seed = command.seed.value_or(std::random_device()())};
  if (!command.file.empty()) options.workload.texts = read_texts(command.file);
  options.concurrency = command.concurrency;
  options.rate = command.rate;
  options.arrival = *arrival_kind_from_name(command.arrival);
  options.max_outstanding = command.max_outstanding;
  options.warmup = std::chrono::duration<double>(command.warmup);
  options.duration = std::chrono::duration<double>(command.duration);
  options.num_requests = command.requests;
  options.abort_fraction = command.abort_fraction;
  options.num_probes = command.check ? kNumProbes : 0;
  options.timeout = std::chrono::milliseconds(static_cast<int64_t>(1000 * command.timeout));
  options.interrupted = &interrupted;
  if (command.model.empty()) options.workload.model = served_model(options);
  return options;
}

// One live line a second on a terminal, one line in ten seconds elsewhere.
class LoadProgressLine {
 public:
  ~LoadProgressLine() {
    if (terminal_ && num_calls_ > 0) fmt::print(stderr, "\r\x1b[K");
  }

  void update(const LoadProgress& progress) {
    constexpr int kPlainEvery = 10;
    ++num_calls_;
    if (!terminal_ && num_calls_ % kPlainEvery != 0) return;
    const std::string line = fmt::format(
        "{:4.0f} s{}  {:8.1f} requests/s  p50 {:.1f} ms  p99 {:.1f} ms  {} out  {} refused  {} "
        "failed",
        progress.elapsed, progress.warming_up ? " warm-up" : "", progress.requests_per_s,
        milliseconds(progress.latency.percentile(50)),
        milliseconds(progress.latency.percentile(99)), progress.outstanding, progress.num_refused,
        progress.num_failed);
    if (terminal_) {
      fmt::print(stderr, "\r\x1b[K{}", line);
    } else {
      fmt::print(stderr, "{}\n", line);
    }
    std::fflush(stderr);
  }

 private:
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  int num_calls_ = 0;
};

// What makes the run a failure, as sentences.
std::vector<std::string> failures_of(const LoadReport& report, const std::set<int>& expected) {
  std::vector<std::string> found;
  for (const auto& [status, count] : report.statuses) {
    if (expected.contains(status)) continue;
    found.push_back(fmt::format("{} answers had the unexpected status {}", count, status));
  }
  for (const auto& [kind, count] : report.failures) {
    found.push_back(fmt::format("{} requests got no answer: {}", count, kind));
  }
  if (report.check.num_different > 0) {
    found.push_back(fmt::format("{} of {} repeated answers differ from the first",
                                report.check.num_different, report.check.num_compared));
  }
  if (report.check.num_missing > 0) {
    found.push_back(fmt::format("{} of {} inputs have no first or last answer to compare",
                                report.check.num_missing, report.check.num_probes));
  }
  if (report.statuses.empty() && report.num_aborted == 0) found.push_back("nothing was answered");
  return found;
}

int run(const BenchEmbedCommand& command) {
  const LoadOptions options = load_options(command);
  end_at_interrupt();
  LoadReport report;
  {
    LoadProgressLine line;
    report = run_load(options, [&](const LoadProgress& progress) { line.update(progress); });
  }
  fmt::print("{}", render(report));
  if (!command.json.empty()) write_file(command.json, to_json(report));
  const auto failures =
      failures_of(report, {command.expected_statuses.begin(), command.expected_statuses.end()});
  for (const std::string& failure : failures) fmt::print(stderr, "millrace: {}\n", failure);
  return failures.empty() ? 0 : 1;
}

void add_flags(CLI::App& app, BenchEmbedCommand& command) {
  app.add_option("url", command.url, "The server: http://host:port, Millrace or any other")
      ->required();
  app.add_option("--route", command.route,
                 "/v1/embeddings, /embed, /rerank or /predict (/v1/embeddings)");
  app.add_option("--model", command.model, "Model to ask for (the first that the server lists)");
  app.add_option("--api-key", command.api_key,
                 "Sent as a bearer token (MILLRACE_API_KEY or OPENAI_API_KEY of the environment)");
  app.add_option("--encoding-format", command.encoding_format, "float or base64, of embeddings")
      ->check(CLI::IsMember({"float", "base64"}));

  auto* concurrency =
      app.add_option("--concurrency,-c", command.concurrency,
                     "Closed loop: connections that each send, wait, send again (32)")
          ->check(CLI::Range(1, 1'000'000));
  auto* rate = app.add_option("--rate,-r", command.rate,
                              "Open loop: requests a second, whatever the server does")
                   ->check(CLI::Range(1e-3, 1e7))
                   ->excludes(concurrency);
  app.add_option("--arrival", command.arrival, "Of an open loop: poisson or constant (poisson)")
      ->check(CLI::IsMember({"poisson", "constant"}))
      ->needs(rate);
  app.add_option("--max-outstanding", command.max_outstanding,
                 "Of an open loop: requests out at a time; what is due beyond is counted and not "
                 "sent (4000)")
      ->check(CLI::Range(1, 1'000'000))
      ->needs(rate);

  auto* duration = app.add_option("--duration,-d", command.duration, "Seconds to measure (10)")
                       ->check(CLI::Range(0.1, 1e6));
  app.add_option("--requests,-n", command.requests, "Requests to measure, instead of --duration")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40))
      ->excludes(duration);
  app.add_option("--warmup", command.warmup, "Seconds of load before the measurement (2)")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--timeout", command.timeout, "Seconds for one request (60)")
      ->check(CLI::Range(1e-3, 1e6));

  app.add_option("--inputs-per-request,-i", command.inputs_per_request, "Texts per request (1)")
      ->check(CLI::Range(1, 100'000));
  auto* tokens = app.add_option("--tokens,-t", command.tokens,
                                "Tokens per text, of random words: 5, 5-510 or 5:9,200-510:1 (5)");
  app.add_option("--file", command.file, "Texts to draw from: a line each, or .jsonl")
      ->excludes(tokens);
  app.add_option("--seed", command.seed, "Of texts, arrivals and aborts (random, and printed)");
  app.add_option("--abort-fraction", command.abort_fraction,
                 "Share of requests whose connection is closed before the answer (0)")
      ->check(CLI::Range(0.0, 1.0));

  app.add_flag("--check", command.check,
               "Ask for eight texts again and again; their answers must stay equal");
  app.add_option("--expect-status", command.expected_statuses,
                 "Statuses that are no failure of the run (200,429)")
      ->delimiter(',');
  app.add_option("--json", command.json, "Write the report to this file as JSON");
}

}  // namespace

void add_bench_command(CLI::App& app, int& status) {
  auto& bench = *app.add_subcommand("bench", "Measure a server under load, or a model");
  bench.require_subcommand(1);
  auto& embed =
      *bench.add_subcommand("embed", "Embeddings, scores or labels: rates, latencies, statuses");
  const auto command = std::make_shared<BenchEmbedCommand>();
  add_flags(embed, *command);
  embed.callback([command, &status] { status = run(*command); });
  add_bench_model_command(bench, status);
}

}  // namespace millrace
