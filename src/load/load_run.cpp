// What a load of encoders sends into the loop, and what it counts.
#include "load/load_run.h"

#include <fmt/format.h>

#include <utility>

#include "load/answer.h"
#include "load/probes.h"

namespace millrace {

namespace {

class LoadRun {
 public:
  explicit LoadRun(const EncoderLoadOptions& options)
      : options_(options),
        loop_(options, options.workload.seed, options.num_probes),
        workload_(options.workload),
        probes_(workload_.probes(options.num_probes)) {}

  LoadReport run(const std::function<void(const LoadProgress&)>& on_progress);

 private:
  struct Flight {
    Ticket ticket;
    int num_inputs = 0;
    int64_t num_tokens = 0;
  };

  void issue(const Ticket& ticket);
  void count(const Flight& flight, const http::CallResult& result, Clock::time_point now);
  void probe(size_t index);
  bool end_probes(Clock::time_point now);

  const EncoderLoadOptions& options_;
  LoadLoop loop_;
  Workload workload_;
  Probes probes_;
  LoadReport report_;
  bool last_probes_ = false;  // the probes' last round has begun
  size_t probes_out_ = 0;
  size_t next_probe_ = 0;
};

LoadReport LoadRun::run(const std::function<void(const LoadProgress&)>& on_progress) {
  for (size_t i = 0; i < probes_.size(); ++i) probe(i);
  loop_.run({.issue = [this](const Ticket& ticket) { issue(ticket); },
             .each_second =
                 [this] {
                   if (probes_.size() > 0) probe(next_probe_++ % probes_.size());
                 },
             .at_end = [this](Clock::time_point now) { return end_probes(now); },
             .on_progress = on_progress});
  report_.check = probes_.report();
  report_.num_sent = loop_.num_sent();
  report_.num_dropped = loop_.num_dropped();
  report_.num_connections = loop_.num_connections();
  report_.num_connects = loop_.client().num_connects();
  report_.window = loop_.window();
  return std::move(report_);
}

void LoadRun::issue(const Ticket& ticket) {
  WorkItem item = workload_.next();
  const Flight flight{
      .ticket = ticket, .num_inputs = item.num_inputs, .num_tokens = item.num_tokens};
  loop_.client().send(
      loop_.request_of(std::move(item.body)),
      [this, flight](const http::CallResult& result) {
        count(flight, result, Clock::now());
        loop_.finished(flight.ticket, result);
      },
      ticket.abort_after);
}

void LoadRun::count(const Flight& flight, const http::CallResult& result, Clock::time_point now) {
  const auto latency = now - flight.ticket.intended;
  const int status = result.response.status;
  const bool answered = result.outcome == http::CallOutcome::kAnswered;

  if (answered && loop_.in_window(now)) {
    const auto tokens = static_cast<uint64_t>(tokens_of(result.response).value_or(0));
    const auto inputs = static_cast<uint64_t>(flight.num_inputs);
    const auto add = [&](Throughput& to) {
      ++to.requests;
      to.inputs += inputs;
      to.tokens += tokens;
    };
    add(report_.answered);
    if (is_success(status)) add(report_.good);
  }

  if (!flight.ticket.measured) return;
  if (result.outcome == http::CallOutcome::kAborted) {
    ++report_.num_aborted;
  } else if (!answered) {
    ++report_.failures[std::string(to_string(result.outcome))];
  } else {
    ++report_.statuses[status];
    if (is_success(status)) {
      report_.latency.record(latency);
      report_.class_of(flight.num_tokens).latency.record(latency);
    } else if (status == 429) {
      report_.refusals.record(latency);
    }
  }
}

void LoadRun::probe(size_t index) {
  ++probes_out_;
  loop_.client().send(loop_.request_of(probes_.body(index)),
                      [this, index](const http::CallResult& result) {
                        --probes_out_;
                        probes_.answered(index, result);
                      });
}

bool LoadRun::end_probes(Clock::time_point now) {
  if (probes_out_ > 0) return false;
  if (!std::exchange(last_probes_, true)) probes_.begin_last_round();
  const auto missing = probes_.unanswered(now - loop_.window_end() < options_.timeout);
  for (const size_t index : missing) probe(index);
  return missing.empty();
}

}  // namespace

LoadReport run_load(const EncoderLoadOptions& options,
                    const std::function<void(const LoadProgress&)>& on_progress) {
  LoadReport report = LoadRun(options).run(on_progress);
  const WorkloadOptions& workload = options.workload;
  report.url =
      fmt::format("http://{}:{}{}", options.server.host, options.server.port, options.path);
  report.model = workload.model;
  report.mode = mode_text(options);
  report.inputs = fmt::format("{} per request, {}", workload.inputs_per_request,
                              workload.texts.empty()
                                  ? workload.lengths.text() + " tokens"
                                  : fmt::format("{} texts of a file", workload.texts.size()));
  report.seed = workload.seed;
  return report;
}

}  // namespace millrace
