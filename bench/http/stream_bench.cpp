// Many small events to many clients: what a write costs the thread that writes, and how many
// arrive. One JSON line.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "http/async_client.h"
#include "http/server.h"
#include "http/sse.h"

namespace millrace::bench {
namespace {

struct Options {
  size_t streams = 256;
  int steps = 2000;    // events of each stream
  double step_ms = 0;  // between the beginnings of two steps; 0: as fast as it goes
  size_t event_bytes = 200;
  int workers = 2;
};

// All streams, once as many clients as asked for have come.
class Streams {
 public:
  void add(const std::shared_ptr<http::Exchange>& exchange) {
    http::Response head;
    head.headers.add("content-type", "text/event-stream");
    std::lock_guard lock(mutex_);
    all_.push_back(exchange->start_stream(std::move(head)));
    changed_.notify_all();
  }
  std::vector<std::shared_ptr<http::ResponseStream>> wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return all_.size() >= count; });
    return std::move(all_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<http::ResponseStream>> all_;
};

int run(const Options& options) {
  Streams streams;
  http::ServerOptions server_options;
  server_options.port = 0;
  server_options.num_threads = options.workers;
  server_options.max_stream_bytes = size_t{1} << 30;
  server_options.max_total_body_bytes = size_t{4} << 30;
  http::Server server(std::move(server_options),
                      [&](const std::shared_ptr<http::Exchange>& e) { streams.add(e); });
  server.start();

  double write_us = 0;
  double most_pending = 0;
  double step_p99_us = 0;
  std::thread engine([&] {
    const auto all = streams.wait_for(options.streams);
    const std::string event = http::sse_event(std::string(options.event_bytes - 8, 'x'));
    std::vector<double> steps;
    auto due = Clock::now();
    for (int step = 0; step < options.steps; ++step) {
      const auto begin = Clock::now();
      for (const auto& stream : all) CHECK(stream->write(event));
      steps.push_back(1e3 * milliseconds(Clock::now() - begin));
      most_pending = std::max(most_pending, static_cast<double>(all[0]->pending_bytes()));
      due += std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double, std::milli>(options.step_ms));
      if (options.step_ms > 0) std::this_thread::sleep_until(due);
    }
    for (const auto& stream : all) stream->end();
    std::ranges::sort(steps);
    write_us = steps[steps.size() / 2] / static_cast<double>(options.streams);
    step_p99_us = steps[steps.size() * 99 / 100];
  });

  http::AsyncClient client("127.0.0.1", server.port());
  size_t num_pieces = 0;
  size_t num_bytes = 0;
  Clock::time_point first{};
  for (size_t i = 0; i < options.streams; ++i) {
    client.send({.method = "GET", .target = "/"},
                [](const http::CallResult& result) {
                  CHECK(result.outcome == http::CallOutcome::kAnswered, "{}", result.detail);
                },
                {}, {.on_body = [&](std::string_view piece) {
                  if (num_pieces++ == 0) first = Clock::now();
                  num_bytes += piece.size();
                  return true;
                }});
  }
  client.run();
  const double elapsed = seconds(Clock::now() - first);
  engine.join();
  const double events = static_cast<double>(options.streams) * options.steps;
  CHECK(num_bytes == static_cast<size_t>(events) * options.event_bytes, "{} bytes", num_bytes);
  fmt::print(R"({{"streams":{},"events_per_s":{:.0f},"write_us":{:.3f},"step_p99_us":{:.0f},)"
             R"("events_per_piece":{:.2f},"most_pending_bytes":{:.0f}}})"
             "\n",
             options.streams, events / elapsed, write_us, step_p99_us,
             events / static_cast<double>(num_pieces), most_pending);
  return 0;
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  millrace::bench::Options options;
  CLI::App app{"Events of streamed answers through HTTP"};
  app.add_option("--streams", options.streams)->check(CLI::Range(1, 10000));
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 1000000));
  app.add_option("--step-ms", options.step_ms);
  app.add_option("--event-bytes", options.event_bytes)->check(CLI::Range(16, 100000));
  app.add_option("--workers", options.workers)->check(CLI::Range(1, 64));
  CLI11_PARSE(app, argc, argv);
  return millrace::bench::run(options);
}
