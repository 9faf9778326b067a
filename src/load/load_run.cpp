// The loop of a load, as callbacks of the client's one thread.
#include "load/load_run.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

#include "base/error.h"
#include "http/async_client.h"
#include "load/answer.h"
#include "load/probes.h"

namespace millrace {

namespace {

constexpr auto kTick = std::chrono::milliseconds(50);          // end of window, progress
constexpr auto kRampStep = std::chrono::microseconds(500);     // between first connections
constexpr auto kBrokenPause = std::chrono::milliseconds(100);  // of a slot whose request failed
constexpr int kMaxRetryAfter = 60;                             // s
constexpr rlim_t kOtherFiles = 64;                             // beside connections

bool is_success(int status) {
  return status >= 200 && status < 300;
}

Clock::duration to_clock(std::chrono::duration<double> value) {
  return std::chrono::duration_cast<Clock::duration>(value);
}

// Raises the soft limit of open files as far as `connections` need it and the hard limit allows.
void allow_connections(int connections) {
  const rlim_t wanted = static_cast<rlim_t>(connections) + kOtherFiles;
  rlimit limit{};
  CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur >= wanted) return;
  if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < wanted) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} connections need {} open files, this process may have {}",
                            connections, wanted, limit.rlim_max),
                "raise the hard limit (ulimit -Hn) or ask for fewer connections");
  }
  limit.rlim_cur = wanted;
  CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

class LoadRun {
 public:
  LoadRun(const LoadOptions& options, std::function<void(const LoadProgress&)> on_progress)
      : options_(options),
        on_progress_(std::move(on_progress)),
        client_(options.server.host, options.server.port, {.timeout = options.timeout}),
        workload_(options.workload),
        random_(options.workload.seed + 2),
        probes_(workload_.probes(options.num_probes)) {}

  LoadReport run();

 private:
  struct Flight {
    Clock::time_point intended;
    int num_inputs = 0;
    int64_t num_tokens = 0;
    bool measured = false;
    bool closed_loop_slot = false;
  };

  bool issuing() const { return !ending_; }
  bool in_window(Clock::time_point when) const {
    return when >= window_begin_ && (!window_end_ || when < *window_end_);
  }
  void start();
  void start_slot();
  void next_arrival();
  void issue(Clock::time_point intended, bool slot);
  void finished(const Flight& flight, const http::CallResult& result);
  void count(const Flight& flight, const http::CallResult& result, Clock::time_point now);
  Clock::duration pause_after(const http::CallResult& result);
  void tick();
  void tell_progress(Clock::time_point now);
  void probe(size_t index);
  http::Request request_of(std::string body) const;

  const LoadOptions& options_;
  std::function<void(const LoadProgress&)> on_progress_;
  http::AsyncClient client_;
  Workload workload_;
  std::mt19937_64 random_;
  Probes probes_;
  std::optional<Arrivals> arrivals_;

  LoadReport report_;
  Clock::time_point begin_;         // of the warm-up
  Clock::time_point window_begin_;  // of what is measured
  std::optional<Clock::time_point> window_end_;
  Clock::time_point arrivals_begin_;
  bool ending_ = false;       // nothing new is sent
  bool last_probes_ = false;  // the probes' last round has begun
  size_t outstanding_ = 0;
  size_t probes_out_ = 0;
  size_t next_probe_ = 0;
  double expected_s_ = 0.05;  // running mean of successful latencies, for aborts
  LoadProgress progress_;
  Clock::time_point progress_at_;
};

http::Request LoadRun::request_of(std::string body) const {
  http::Request request{.method = "POST", .target = options_.path, .headers = options_.headers};
  request.headers.set("content-type", "application/json");
  request.body = std::move(body);
  return request;
}

LoadReport LoadRun::run() {
  start();
  client_.run();
  report_.check = probes_.report();
  report_.num_connects = client_.num_connects();
  const auto end = window_end_.value_or(Clock::now());
  report_.window = std::max(1e-9, seconds(end - window_begin_));
  return std::move(report_);
}

void LoadRun::start() {
  begin_ = progress_at_ = Clock::now();
  window_begin_ = begin_ + to_clock(options_.warmup);
  if (!options_.num_requests) window_end_ = window_begin_ + to_clock(options_.duration);
  for (size_t i = 0; i < probes_.size(); ++i) probe(i);
  if (options_.rate) {
    arrivals_.emplace(options_.arrival, *options_.rate, options_.workload.seed + 3);
    arrivals_begin_ = begin_;
    next_arrival();
  } else {
    for (int i = 0; i < options_.concurrency; ++i) {
      client_.at(begin_ + i * kRampStep, [this] { start_slot(); });
    }
  }
  tick();
}

void LoadRun::start_slot() {
  if (issuing()) issue(Clock::now(), true);
}

void LoadRun::next_arrival() {
  const auto when = arrivals_begin_ + arrivals_->next();
  client_.at(when, [this, when] {
    if (!issuing()) return;
    if (outstanding_ >= static_cast<size_t>(options_.max_outstanding)) {
      report_.num_dropped += in_window(when) ? 1 : 0;
    } else {
      issue(when, false);
    }
    next_arrival();
  });
}

void LoadRun::issue(Clock::time_point intended, bool slot) {
  WorkItem item = workload_.next();
  const Flight flight{.intended = intended,
                      .num_inputs = item.num_inputs,
                      .num_tokens = item.num_tokens,
                      .measured = in_window(intended),
                      .closed_loop_slot = slot};
  if (flight.measured) {
    ++report_.num_sent;
    if (options_.num_requests && report_.num_sent >= *options_.num_requests) ending_ = true;
  }
  std::optional<std::chrono::nanoseconds> abort_after;
  std::uniform_real_distribution<double> unit(0, 1);
  if (options_.abort_fraction > 0 && unit(random_) < options_.abort_fraction) {
    abort_after = to_clock(std::chrono::duration<double>(unit(random_) * expected_s_));
  }
  ++outstanding_;
  client_.send(
      request_of(std::move(item.body)),
      [this, flight](const http::CallResult& result) { finished(flight, result); }, abort_after);
}

void LoadRun::finished(const Flight& flight, const http::CallResult& result) {
  const auto now = Clock::now();
  --outstanding_;
  const uint64_t num_connections = client_.num_connections();
  report_.num_connections = std::max(report_.num_connections, num_connections);
  if (result.outcome == http::CallOutcome::kRefused && report_.statuses.empty() &&
      progress_.latency.count() == 0 && now - begin_ < std::chrono::seconds(1)) {
    throw Error(ErrorCode::kUnavailable,
                fmt::format("{}:{}: {}", options_.server.host, options_.server.port, result.detail),
                "is the server running?");
  }
  count(flight, result, now);
  if (!flight.closed_loop_slot || !issuing()) return;
  const Clock::duration pause = pause_after(result);
  if (pause > Clock::duration{}) {
    client_.at(now + pause, [this] { start_slot(); });
  } else {
    start_slot();
  }
}

// How long a connection of a closed loop stays quiet: as a client would that was told to, and a
// moment where there was no answer at all.
Clock::duration LoadRun::pause_after(const http::CallResult& result) {
  if (result.outcome == http::CallOutcome::kAborted) return {};
  if (result.outcome != http::CallOutcome::kAnswered) return kBrokenPause;
  if (result.response.status != 429) return {};
  const auto header = result.response.headers.find("retry-after");
  int retry_after = 0;  // s; the form with a date counts as none
  if (header) std::from_chars(header->data(), header->data() + header->size(), retry_after);
  std::uniform_real_distribution<double> spread(1, 1.5);  // so that not all come back at once
  return to_clock(
      std::chrono::duration<double>(spread(random_) * std::clamp(retry_after, 0, kMaxRetryAfter)));
}

void LoadRun::count(const Flight& flight, const http::CallResult& result, Clock::time_point now) {
  const auto latency = now - flight.intended;
  const int status = result.response.status;
  const bool answered = result.outcome == http::CallOutcome::kAnswered;
  if (answered && is_success(status)) {
    constexpr double kWeight = 0.02;
    expected_s_ += kWeight * (seconds(latency) - expected_s_);
    progress_.latency.record(latency);
  } else if (answered && status == 429) {
    ++progress_.num_refused;
  } else if (result.outcome != http::CallOutcome::kAborted) {
    ++progress_.num_failed;
  }

  if (answered && in_window(now)) {
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

  if (!flight.measured) return;
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
  client_.send(request_of(probes_.body(index)), [this, index](const http::CallResult& result) {
    --probes_out_;
    probes_.answered(index, result);
  });
}

// Ends the window, the run and the client's loop; tells the progress.
void LoadRun::tick() {
  const auto now = Clock::now();
  const bool interrupted = options_.interrupted && options_.interrupted->load();
  if (interrupted || (window_end_ && now >= *window_end_)) ending_ = true;
  if (ending_ && !last_probes_) {
    if (interrupted) window_end_ = std::min(now, window_end_.value_or(now));
    if ((outstanding_ == 0 && probes_out_ == 0) || interrupted) {
      if (!window_end_) window_end_ = now;  // of a run by number: all its answers are in
      if (interrupted) return client_.stop();
      last_probes_ = true;
      probes_.begin_last_round();
    }
  }
  if (now - progress_at_ >= std::chrono::seconds(1)) {
    if (!ending_ && probes_.size() > 0) probe(next_probe_++ % probes_.size());
    tell_progress(now);
  }
  if (last_probes_ && probes_out_ == 0) {
    const auto missing = probes_.unanswered(now - *window_end_ < options_.timeout);
    if (missing.empty()) return client_.stop();
    for (const size_t index : missing) probe(index);
  }
  client_.at(now + kTick, [this] { tick(); });
}

void LoadRun::tell_progress(Clock::time_point now) {
  progress_.elapsed = seconds(now - begin_);
  progress_.warming_up = now < window_begin_;
  progress_.outstanding = outstanding_;
  progress_.requests_per_s =
      static_cast<double>(progress_.latency.count()) / seconds(now - progress_at_);
  if (on_progress_) on_progress_(progress_);
  progress_.latency = {};
  progress_at_ = now;
}

std::string mode_text(const LoadOptions& options) {
  std::string text =
      options.rate ? fmt::format("open loop, {:g} requests/s, {} arrivals", *options.rate,
                                 options.arrival == ArrivalKind::kPoisson ? "Poisson" : "constant")
                   : fmt::format("closed loop, {} connections", options.concurrency);
  if (options.abort_fraction > 0) {
    text += fmt::format(", {:g} % aborted", 100 * options.abort_fraction);
  }
  return text;
}

}  // namespace

LoadReport run_load(const LoadOptions& options,
                    const std::function<void(const LoadProgress&)>& on_progress) {
  const int connections = options.rate ? options.max_outstanding : options.concurrency;
  allow_connections(connections + static_cast<int>(options.num_probes));
  LoadReport report = LoadRun(options, on_progress).run();
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
