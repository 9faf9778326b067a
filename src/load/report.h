// What a load measured: counts, rates and latencies, as a table and as JSON.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "load/histogram.h"

namespace millrace {

// Answers in the measured window, whenever their requests were sent.
struct Throughput {
  uint64_t requests = 0;
  uint64_t inputs = 0;
  uint64_t tokens = 0;  // as the server counted them; 0 where it does not tell
};

// Latencies of successful requests by the tokens that all inputs of one ask for.
struct LengthClass {
  int64_t max_tokens = 0;  // inclusive; 0: no end
  Histogram latency;
};

// Repeated answers to the same inputs.
struct CheckReport {
  uint64_t num_probes = 0;     // distinct inputs; 0: not checked
  uint64_t num_compared = 0;   // later answers laid beside the first
  uint64_t num_different = 0;  // of those
  uint64_t num_missing = 0;    // inputs whose first or last answer never came
};

struct LoadReport {
  std::string url;  // with the route
  std::string model;
  std::string mode;    // "closed loop, 32 connections"
  std::string inputs;  // "1 per request, 5-510 tokens"
  uint64_t seed = 0;
  double window = 0;  // s; what came before is warm-up

  // Requests whose (intended) sending lies in the window.
  uint64_t num_sent = 0;
  uint64_t num_aborted = 0;                  // by us, on purpose
  uint64_t num_dropped = 0;                  // never sent: too many were out already
  std::map<int, uint64_t> statuses;          // of answers
  std::map<std::string, uint64_t> failures;  // without an answer, by kind
  Histogram latency;                         // of 2xx, from the intended sending
  Histogram refusals;                        // of 429
  std::array<LengthClass, 4> classes{
      {{.max_tokens = 32}, {.max_tokens = 128}, {.max_tokens = 512}, {.max_tokens = 0}}};

  Throughput answered;           // any status
  Throughput good;               // 2xx
  uint64_t num_connections = 0;  // most at a time
  uint64_t num_connects = 0;     // in all
  CheckReport check;

  LengthClass& class_of(int64_t num_tokens);
  double good_requests_per_s() const { return static_cast<double>(good.requests) / window; }
};

std::string render(const LoadReport& report);   // lines for people
std::string to_json(const LoadReport& report);  // indented; docs/benchmarking.md names the fields

// What a user calls good service: limits in ms that an answer must hold, all that are set.
struct Slo {
  std::optional<double> ttft_ms;  // to the first text
  std::optional<double> tpot_ms;  // for each token behind the first, on average
  std::optional<double> e2e_ms;   // to the end

  bool empty() const { return !ttft_ms && !tpot_ms && !e2e_ms; }
};

// "ttft:200", "tpot:50", "e2e:5000" (also "e2el"), added to `slo`. Throws Error{kInvalidArgument}.
void add_limit(Slo& slo, std::string_view text);

struct GenerationReport {
  std::string url;
  std::string model;
  std::string mode;
  std::string inputs;  // "512 tokens in, 128 out"
  uint64_t seed = 0;
  double window = 0;  // s

  // Requests whose (intended) sending lies in the window.
  uint64_t num_sent = 0;
  uint64_t num_aborted = 0;
  uint64_t num_dropped = 0;
  std::map<int, uint64_t> statuses;          // of whole answers
  std::map<std::string, uint64_t> failures;  // of the others, by kind
  std::string first_error;                   // what the server said of the first that failed
  Histogram ttft;  // of 2xx, as all below: from the intended sending to the first text
  Histogram tpot;  // each: (last text - first text) / (tokens - 1)
  Histogram itl;   // between two pieces of text
  Histogram e2e;   // from the intended sending to the end
  Slo slo;
  uint64_t num_good = 0;  // held it

  // In the window, whenever their requests were sent.
  uint64_t num_completed = 0;  // 2xx
  int64_t input_tokens = 0;    // of those, as the server counts them
  int64_t output_tokens = 0;   // as they came

  uint64_t num_connections = 0;
  uint64_t num_connects = 0;
};

std::string render(const GenerationReport& report);
std::string to_json(const GenerationReport& report);

}  // namespace millrace
