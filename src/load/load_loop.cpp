// The loop of a load, as callbacks of the client's one thread.
#include "load/load_loop.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"

namespace millrace {

namespace {

constexpr auto kTick = std::chrono::milliseconds(50);          // end of window, progress
constexpr auto kRampStep = std::chrono::microseconds(500);     // between first connections
constexpr auto kBrokenPause = std::chrono::milliseconds(100);  // of a slot whose request failed
constexpr int kMaxRetryAfter = 60;                             // s
constexpr rlim_t kOtherFiles = 64;                             // beside connections

Clock::duration to_clock(std::chrono::duration<double> value) {
  return std::chrono::duration_cast<Clock::duration>(value);
}

// Raises the soft limit of open files as far as `connections` need it and the hard limit allows.
void allow_connections(size_t connections) {
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

}  // namespace

bool is_success(int status) {
  return status >= 200 && status < 300;
}

LoadLoop::LoadLoop(const LoopOptions& options, uint64_t seed, size_t num_extra_connections)
    : options_(options),
      client_(options.server.host, options.server.port, {.timeout = options.timeout}),
      random_(seed + 2),
      seed_(seed) {
  const int connections = options.rate ? options.max_outstanding : options.concurrency;
  allow_connections(static_cast<size_t>(connections) + num_extra_connections);
}

http::Request LoadLoop::request_of(std::string body) const {
  http::Request request{.method = "POST", .target = options_.path, .headers = options_.headers};
  request.headers.set("content-type", "application/json");
  request.body = std::move(body);
  return request;
}

double LoadLoop::window() const {
  return std::max(1e-9, seconds(window_end() - window_begin_));
}

void LoadLoop::run(Hooks hooks) {
  hooks_ = std::move(hooks);
  begin_ = progress_at_ = Clock::now();
  window_begin_ = begin_ + to_clock(options_.warmup);
  if (!options_.num_requests) window_end_ = window_begin_ + to_clock(options_.duration);
  if (options_.rate) {
    arrivals_.emplace(options_.arrival, *options_.rate, seed_ + 3);
    next_arrival();
  } else {
    for (int i = 0; i < options_.concurrency; ++i) {
      client_.at(begin_ + i * kRampStep, [this] { start_slot(); });
    }
  }
  tick();
  client_.run();
  window_end_ = window_end();
}

void LoadLoop::start_slot() {
  if (!ending_) issue(Clock::now(), true);
}

void LoadLoop::next_arrival() {
  const auto when = begin_ + arrivals_->next();
  client_.at(when, [this, when] {
    if (ending_) return;
    if (outstanding_ >= static_cast<size_t>(options_.max_outstanding)) {
      num_dropped_ += in_window(when) ? 1 : 0;
    } else {
      issue(when, false);
    }
    next_arrival();
  });
}

void LoadLoop::issue(Clock::time_point intended, bool slot) {
  Ticket ticket{.intended = intended, .measured = in_window(intended), .slot = slot};
  if (ticket.measured) {
    ++num_sent_;
    if (options_.num_requests && num_sent_ >= *options_.num_requests) ending_ = true;
  }
  std::uniform_real_distribution<double> unit(0, 1);
  if (options_.abort_fraction > 0 && unit(random_) < options_.abort_fraction) {
    ticket.abort_after = to_clock(std::chrono::duration<double>(unit(random_) * expected_s_));
  }
  ++outstanding_;
  hooks_.issue(ticket);
}

void LoadLoop::finished(const Ticket& ticket, const http::CallResult& result) {
  const auto now = Clock::now();
  --outstanding_;
  const uint64_t num_connections = client_.num_connections();
  num_connections_ = std::max(num_connections_, num_connections);
  if (result.outcome == http::CallOutcome::kRefused && !answered_ &&
      now - begin_ < std::chrono::seconds(1)) {
    throw Error(ErrorCode::kUnavailable,
                fmt::format("{}:{}: {}", options_.server.host, options_.server.port, result.detail),
                "is the server running?");
  }
  const bool answered = result.outcome == http::CallOutcome::kAnswered;
  answered_ = answered_ || answered;
  if (answered && is_success(result.response.status)) {
    constexpr double kWeight = 0.02;
    expected_s_ += kWeight * (seconds(now - ticket.intended) - expected_s_);
    progress_.latency.record(now - ticket.intended);
  } else if (answered && result.response.status == 429) {
    ++progress_.num_refused;
  } else if (result.outcome != http::CallOutcome::kAborted) {
    ++progress_.num_failed;
  }
  if (!ticket.slot || ending_) return;
  const Clock::duration pause = pause_after(result);
  if (pause > Clock::duration{}) {
    client_.at(now + pause, [this] { start_slot(); });
  } else {
    start_slot();
  }
}

// How long a connection of a closed loop stays quiet: as a client would that was told to, and a
// moment where there was no answer at all.
Clock::duration LoadLoop::pause_after(const http::CallResult& result) {
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

// Ends the window, the run and the client's loop; tells the progress.
void LoadLoop::tick() {
  const auto now = Clock::now();
  const bool interrupted = options_.interrupted && options_.interrupted->load();
  if (interrupted || (window_end_ && now >= *window_end_)) ending_ = true;
  if (interrupted) {
    window_end_ = std::min(now, window_end_.value_or(now));
    return client_.stop();
  }
  if (ending_ && outstanding_ == 0) {
    if (!window_end_) window_end_ = now;  // of a run by number: all its answers are in
    if (!hooks_.at_end || hooks_.at_end(now)) return client_.stop();
  }
  if (now - progress_at_ >= std::chrono::seconds(1)) {
    if (!ending_ && hooks_.each_second) hooks_.each_second();
    tell_progress(now);
  }
  client_.at(now + kTick, [this] { tick(); });
}

void LoadLoop::tell_progress(Clock::time_point now) {
  progress_.elapsed = seconds(now - begin_);
  progress_.warming_up = now < window_begin_;
  progress_.outstanding = outstanding_;
  progress_.requests_per_s =
      static_cast<double>(progress_.latency.count()) / seconds(now - progress_at_);
  progress_.tokens_per_s /= seconds(now - progress_at_);
  if (hooks_.on_progress) hooks_.on_progress(progress_);
  progress_.latency = {};
  progress_.first_token = {};
  progress_.tokens_per_s = 0;
  progress_at_ = now;
}

std::string mode_text(const LoopOptions& options) {
  std::string text =
      options.rate ? fmt::format("open loop, {:g} requests/s, {} arrivals", *options.rate,
                                 options.arrival == ArrivalKind::kPoisson ? "Poisson" : "constant")
                   : fmt::format("closed loop, {} connections", options.concurrency);
  if (options.abort_fraction > 0) {
    text += fmt::format(", {:g} % aborted", 100 * options.abort_fraction);
  }
  return text;
}

}  // namespace millrace
