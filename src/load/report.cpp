// The reports as text and JSON.
#include "load/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"

namespace millrace {

namespace {

constexpr std::array<double, 4> kPercentiles{50, 90, 99, 99.9};

double rate(uint64_t count, double window) {
  return window > 0 ? static_cast<double>(count) / window : 0;
}

std::string class_name(const LoadReport& report, size_t index) {
  const int64_t first = index == 0 ? 1 : report.classes[index - 1].max_tokens + 1;
  const int64_t last = report.classes[index].max_tokens;
  return last > 0 ? fmt::format("{}-{}", first, last) : fmt::format("{}+", first);
}

std::string latency_row(std::string_view name, const Histogram& latency) {
  std::string row = fmt::format("{:<18}{:>10}", name, latency.count());
  for (const double percent : kPercentiles) {
    row += fmt::format("{:>10.2f}", milliseconds(latency.percentile(percent)));
  }
  return row + fmt::format("{:>10.2f}\n", milliseconds(latency.max()));
}

std::string throughput_row(std::string_view name, const Throughput& throughput, double window) {
  return fmt::format("{:<18}{:>12.1f} requests/s{:>12.1f} inputs/s{:>14.0f} tokens/s\n", name,
                     rate(throughput.requests, window), rate(throughput.inputs, window),
                     rate(throughput.tokens, window));
}

std::string latency_header() {
  return fmt::format("\n{:<18}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "latency in ms", "count",
                     "p50", "p90", "p99", "p99.9", "max");
}

// Statuses, failures, what was aborted and what was never sent.
template <typename Report>
std::string outcome_rows(const Report& report) {
  std::string out = "\nstatus";
  for (const auto& [status, count] : report.statuses) out += fmt::format("  {}: {}", status, count);
  if (report.statuses.empty()) out += "  no answers";
  out += '\n';
  if (!report.failures.empty()) {
    out += "failed";
    for (const auto& [kind, count] : report.failures) out += fmt::format("  {}: {}", kind, count);
    out += '\n';
  }
  if (report.num_aborted > 0) out += fmt::format("aborted by us: {}\n", report.num_aborted);
  if (report.num_dropped > 0) {
    out += fmt::format("not sent, because too many were out: {}\n", report.num_dropped);
  }
  return out;
}

template <typename Report>
std::string head_rows(const Report& report) {
  return fmt::format("{}{}\n{}; {}; seed {}\n", report.url,
                     report.model.empty() ? "" : "  model " + report.model, report.mode,
                     report.inputs, report.seed) +
         fmt::format("{:.1f} s measured, {} requests, at most {} connections ({} opened)\n\n",
                     report.window, report.num_sent, report.num_connections, report.num_connects);
}

template <typename Report>
json::object statuses_json(const Report& report) {
  json::object statuses;
  for (const auto& [status, count] : report.statuses) statuses[std::to_string(status)] = count;
  return statuses;
}

template <typename Report>
json::object failures_json(const Report& report) {
  json::object failures;
  for (const auto& [kind, count] : report.failures) failures[kind] = count;
  return failures;
}

json::object latency_json(const Histogram& latency) {
  json::object out{{"count", latency.count()},
                   {"mean", milliseconds(latency.mean())},
                   {"min", milliseconds(latency.min())}};
  for (const double percent : kPercentiles) {
    out[fmt::format("p{:g}", percent)] = milliseconds(latency.percentile(percent));
  }
  out["max"] = milliseconds(latency.max());
  return out;
}

json::object throughput_json(const Throughput& throughput, double window) {
  return {{"requests_per_s", rate(throughput.requests, window)},
          {"inputs_per_s", rate(throughput.inputs, window)},
          {"tokens_per_s", rate(throughput.tokens, window)}};
}

}  // namespace

LengthClass& LoadReport::class_of(int64_t num_tokens) {
  for (LengthClass& one : classes) {
    if (one.max_tokens == 0 || num_tokens <= one.max_tokens) return one;
  }
  return classes.back();
}

std::string render(const LoadReport& report) {
  std::string out = head_rows(report);
  out += throughput_row("goodput (2xx)", report.good, report.window);
  if (report.answered.requests != report.good.requests) {
    out += throughput_row("any answer", report.answered, report.window);
  }
  out += outcome_rows(report) + latency_header();
  out += latency_row("all", report.latency);
  for (size_t i = 0; i < report.classes.size(); ++i) {
    const Histogram& latency = report.classes[i].latency;
    if (latency.count() == 0 || latency.count() == report.latency.count()) continue;
    out += latency_row(fmt::format("  {} tokens", class_name(report, i)), latency);
  }
  if (report.refusals.count() > 0) out += latency_row("refusals (429)", report.refusals);
  if (const CheckReport& check = report.check; check.num_probes > 0) {
    out +=
        fmt::format("\nanswers compared: {} to {} inputs, {} different, {} missing\n",
                    check.num_compared, check.num_probes, check.num_different, check.num_missing);
  }
  return out;
}

std::string to_json(const LoadReport& report) {
  json::object classes;
  for (size_t i = 0; i < report.classes.size(); ++i) {
    if (report.classes[i].latency.count() == 0) continue;
    classes[class_name(report, i)] = latency_json(report.classes[i].latency);
  }
  return json::to_pretty_text(json::object{
      {"url", report.url},
      {"model", report.model},
      {"mode", report.mode},
      {"inputs", report.inputs},
      {"seed", report.seed},
      {"window_s", report.window},
      {"requests", report.num_sent},
      {"connections", report.num_connections},
      {"connects", report.num_connects},
      {"aborted", report.num_aborted},
      {"dropped", report.num_dropped},
      {"statuses", statuses_json(report)},
      {"failures", failures_json(report)},
      {"goodput", throughput_json(report.good, report.window)},
      {"answered", throughput_json(report.answered, report.window)},
      {"latency_ms", latency_json(report.latency)},
      {"latency_ms_by_tokens", std::move(classes)},
      {"refusals_ms", latency_json(report.refusals)},
      {"check", json::object{{"probes", report.check.num_probes},
                             {"compared", report.check.num_compared},
                             {"different", report.check.num_different},
                             {"missing", report.check.num_missing}}},
  });
}

void add_limit(Slo& slo, std::string_view text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon);
  const std::string_view number = text.substr(std::min(colon + 1, text.size()));
  double value = 0;
  const auto [end, ec] = std::from_chars(number.data(), number.data() + number.size(), value);
  std::optional<double>* limit = name == "ttft"                    ? &slo.ttft_ms
                                 : name == "tpot"                  ? &slo.tpot_ms
                                 : name == "e2e" || name == "e2el" ? &slo.e2e_ms
                                                                   : nullptr;
  if (!limit || ec != std::errc{} || end != number.data() + number.size() || !(value > 0)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("\"{}\" is no limit of service", text),
                "write ttft:200, tpot:50 or e2e:5000 (milliseconds)");
  }
  *limit = value;
}

std::string render(const GenerationReport& report) {
  std::string out = head_rows(report);
  const auto row = [&](std::string_view name, double value, std::string_view unit) {
    out += fmt::format("{:<18}{:>12.2f} {}\n", name, value, unit);
  };
  row("answers (2xx)", rate(report.num_completed, report.window), "requests/s");
  if (!report.slo.empty()) {
    row("goodput", rate(report.num_good, report.window), "requests/s that held");
    out.pop_back();
    const auto limit = [&](std::string_view name, const std::optional<double>& ms) {
      if (ms) out += fmt::format(" {} {:g} ms", name, *ms);
    };
    limit("ttft", report.slo.ttft_ms);
    limit("tpot", report.slo.tpot_ms);
    limit("e2e", report.slo.e2e_ms);
    out += '\n';
  }
  row("output", static_cast<double>(report.output_tokens) / report.window, "tokens/s");
  row("input and output",
      static_cast<double>(report.input_tokens + report.output_tokens) / report.window, "tokens/s");
  out += outcome_rows(report);
  if (!report.first_error.empty()) {
    out += fmt::format("the first error says: {}\n", report.first_error);
  }
  out += latency_header();
  out += latency_row("first token (ttft)", report.ttft);
  out += latency_row("per token (tpot)", report.tpot);
  out += latency_row("between pieces", report.itl);
  out += latency_row("whole answer", report.e2e);
  return out;
}

std::string to_json(const GenerationReport& report) {
  json::object slo;
  if (report.slo.ttft_ms) slo["ttft"] = *report.slo.ttft_ms;
  if (report.slo.tpot_ms) slo["tpot"] = *report.slo.tpot_ms;
  if (report.slo.e2e_ms) slo["e2e"] = *report.slo.e2e_ms;
  const auto per_second = [&](int64_t count) { return static_cast<double>(count) / report.window; };
  return json::to_pretty_text(json::object{
      {"url", report.url},
      {"model", report.model},
      {"mode", report.mode},
      {"inputs", report.inputs},
      {"seed", report.seed},
      {"window_s", report.window},
      {"requests", report.num_sent},
      {"connections", report.num_connections},
      {"connects", report.num_connects},
      {"aborted", report.num_aborted},
      {"dropped", report.num_dropped},
      {"statuses", statuses_json(report)},
      {"failures", failures_json(report)},
      {"first_error", report.first_error},
      {"completed", report.num_completed},
      {"requests_per_s", rate(report.num_completed, report.window)},
      {"input_tokens", report.input_tokens},
      {"output_tokens", report.output_tokens},
      {"output_tokens_per_s", per_second(report.output_tokens)},
      {"total_tokens_per_s", per_second(report.input_tokens + report.output_tokens)},
      {"slo_ms", std::move(slo)},
      {"good_requests", report.num_good},
      {"goodput_per_s", rate(report.num_good, report.window)},
      {"ttft_ms", latency_json(report.ttft)},
      {"tpot_ms", latency_json(report.tpot)},
      {"itl_ms", latency_json(report.itl)},
      {"e2e_ms", latency_json(report.e2e)},
  });
}

}  // namespace millrace
