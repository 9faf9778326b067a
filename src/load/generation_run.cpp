// What a load of generation sends into the loop, and what it counts while answers stream.
#include "load/generation_run.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "client/completion_stream.h"

namespace millrace {

namespace {

class GenerationRun;

// One request and its answer so far.
struct Flight {
  Flight(GenerationRun& run, const Ticket& t);
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  Ticket ticket;
  CompletionStream answer;
  std::optional<Clock::time_point> first_at;  // of the first text
  Clock::time_point last_at;
  int64_t num_pieces = 0;
  std::vector<Clock::duration> gaps;
};

class GenerationRun {
 public:
  explicit GenerationRun(const GenerationLoadOptions& options)
      : options_(options), loop_(options, options.workload.seed, 0), workload_(options.workload) {}

  GenerationReport run(const std::function<void(const LoadProgress&)>& on_progress);
  void on_piece(Flight& flight);

 private:
  void issue(const Ticket& ticket);
  void finished(Flight& flight, const http::CallResult& result);
  void count_tokens(const Flight& flight, Clock::time_point now);
  void count_times(const Flight& flight, Clock::time_point now);

  const GenerationLoadOptions& options_;
  LoadLoop loop_;
  GenerationWorkload workload_;
  GenerationReport report_;
};

Flight::Flight(GenerationRun& run, const Ticket& t)
    : ticket(t), answer([this, &run](const CompletionPiece&) { run.on_piece(*this); }) {}

GenerationReport GenerationRun::run(const std::function<void(const LoadProgress&)>& on_progress) {
  loop_.run({.issue = [this](const Ticket& ticket) { issue(ticket); },
             .each_second = {},
             .at_end = {},
             .on_progress = on_progress});
  report_.num_sent = loop_.num_sent();
  report_.num_dropped = loop_.num_dropped();
  report_.num_connections = loop_.num_connections();
  report_.num_connects = loop_.client().num_connects();
  report_.window = loop_.window();
  return std::move(report_);
}

void GenerationRun::issue(const Ticket& ticket) {
  GenerationItem item = workload_.next();
  const auto flight = std::make_shared<Flight>(*this, ticket);
  loop_.client().send(
      loop_.request_of(std::move(item.body)),
      [this, flight](const http::CallResult& result) { finished(*flight, result); },
      ticket.abort_after, flight->answer.hooks());
}

void GenerationRun::on_piece(Flight& flight) {
  if (!flight.answer.streamed()) return;
  const auto now = Clock::now();
  if (!flight.first_at) {
    flight.first_at = now;
    loop_.progress().first_token.record(now - flight.ticket.intended);
  } else {
    flight.gaps.push_back(now - flight.last_at);
  }
  flight.last_at = now;
  ++flight.num_pieces;
  loop_.progress().tokens_per_s += 1;
  if (loop_.in_window(now)) ++report_.output_tokens;
}

void GenerationRun::finished(Flight& flight, const http::CallResult& result) {
  const auto now = Clock::now();
  http::CallResult outcome = result;
  if (result.outcome == http::CallOutcome::kAnswered) flight.answer.on_end();
  // The stream's reader declines what it cannot read: that is the server's failure, no abort of
  // ours.
  const std::string& failure = flight.answer.failure();
  if (!failure.empty()) outcome.outcome = http::CallOutcome::kGarbled;
  const bool answered = outcome.outcome == http::CallOutcome::kAnswered;
  const bool good = answered && is_success(result.response.status);
  if (good) count_tokens(flight, now);
  if (flight.ticket.measured) {
    if (!failure.empty()) {
      ++report_.failures[failure];
    } else if (outcome.outcome == http::CallOutcome::kAborted) {
      ++report_.num_aborted;
    } else if (!answered) {
      ++report_.failures[std::string(to_string(outcome.outcome))];
    } else {
      ++report_.statuses[result.response.status];
      if (good) count_times(flight, now);
    }
    if (!flight.answer.error_message().empty() && report_.first_error.empty()) {
      report_.first_error = flight.answer.error_message();
    }
  }
  loop_.finished(flight.ticket, outcome);
}

// Pieces were counted as tokens when they came. Where the server says how many tokens there were,
// the rest is added here: a piece may carry several.
void GenerationRun::count_tokens(const Flight& flight, Clock::time_point now) {
  const int64_t more =
      flight.answer.completion_tokens().value_or(flight.num_pieces) - flight.num_pieces;
  loop_.progress().tokens_per_s += static_cast<double>(more);
  if (!loop_.in_window(now)) return;
  ++report_.num_completed;
  report_.output_tokens += more;
  report_.input_tokens += flight.answer.prompt_tokens().value_or(0);
}

void GenerationRun::count_times(const Flight& flight, Clock::time_point now) {
  const auto e2e = now - flight.ticket.intended;
  report_.e2e.record(e2e);
  std::optional<Clock::duration> ttft;
  std::optional<Clock::duration> tpot;
  if (flight.first_at) {
    ttft = *flight.first_at - flight.ticket.intended;
    report_.ttft.record(*ttft);
    const int64_t tokens = flight.answer.completion_tokens().value_or(flight.num_pieces);
    if (tokens > 1) {
      tpot = (flight.last_at - *flight.first_at) / (tokens - 1);
      report_.tpot.record(*tpot);
    }
    for (const Clock::duration gap : flight.gaps) report_.itl.record(gap);
  }
  const auto holds = [](const std::optional<double>& limit_ms,
                        const std::optional<Clock::duration>& value) {
    return !limit_ms || (value && milliseconds(*value) <= *limit_ms);
  };
  // An answer of a single token has no time per token that could be too long.
  const bool good = holds(options_.slo.ttft_ms, ttft) &&
                    (!tpot || holds(options_.slo.tpot_ms, tpot)) && holds(options_.slo.e2e_ms, e2e);
  report_.num_good += good ? 1 : 0;
}

std::string inputs_text(const GenerationWorkloadOptions& workload) {
  std::string text = workload.prompts.empty()
                         ? workload.input.text() + " tokens in"
                         : fmt::format("{} prompts of a file", workload.prompts.size());
  if (workload.shared_prefix > 0) {
    text += fmt::format(" behind {} shared ones", workload.shared_prefix);
  }
  return text + fmt::format(", {}{} out{}", workload.ignore_eos ? "" : "at most ",
                            workload.output.text(), workload.stream ? "" : ", not streamed");
}

}  // namespace

GenerationReport run_generation_load(const GenerationLoadOptions& options,
                                     const std::function<void(const LoadProgress&)>& on_progress) {
  GenerationReport report = GenerationRun(options).run(on_progress);
  report.url =
      fmt::format("http://{}:{}{}", options.server.host, options.server.port, options.path);
  report.model = options.workload.model;
  report.mode = mode_text(options);
  report.inputs = inputs_text(options.workload);
  report.seed = options.workload.seed;
  report.slo = options.slo;
  return report;
}

}  // namespace millrace
