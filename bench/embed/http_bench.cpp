// Short texts through HTTP: requests/s and texts/s against a running server. One JSON line.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "http/client.h"

namespace millrace::bench {
namespace {

struct Options {
  uint16_t port = 8000;
  int connections = 16;
  int texts_per_request = 1;
  double duration_s = 5;
  bool base64 = true;
};

// Texts of five tokens, [CLS] and [SEP] included, in MiniLM's vocabulary.
std::string body_of(const Options& options) {
  std::string body = R"({"input":[)";
  for (int i = 0; i < options.texts_per_request; ++i)
    body += i ? R"(,"a short text")" : R"("a short text")";
  return body + (options.base64 ? R"(],"encoding_format":"base64"})" : "]}");
}

int run(const Options& options) {
  const std::string body = body_of(options);
  std::atomic<bool> stop{false};
  std::vector<std::vector<double>> latencies(static_cast<size_t>(options.connections));
  std::vector<std::thread> threads;
  const auto begin = Clock::now();
  for (auto& mine : latencies) {
    threads.emplace_back([&] {
      http::Client client("127.0.0.1", options.port);
      while (!stop) {
        const auto sent = Clock::now();
        const http::Response response = client.post_json("/v1/embeddings", body);
        CHECK(response.status == 200, "status {}: {}", response.status, response.body);
        mine.push_back(milliseconds(Clock::now() - sent));
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(options.duration_s));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const double elapsed = seconds(Clock::now() - begin);
  std::vector<double> all;
  for (const auto& mine : latencies) all.insert(all.end(), mine.begin(), mine.end());
  std::ranges::sort(all);
  const double requests = static_cast<double>(all.size()) / elapsed;
  fmt::print(
      R"({{"connections":{},"texts_per_request":{},"requests_per_s":{:.1f},"texts_per_s":{:.1f},)"
      R"("p50_ms":{:.3f},"p99_ms":{:.3f}}})"
      "\n",
      options.connections, options.texts_per_request, requests,
      requests * options.texts_per_request, all[all.size() / 2], all[all.size() * 99 / 100]);
  return 0;
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  millrace::bench::Options options;
  CLI::App app{"Five-token texts through HTTP"};
  app.add_option("--port", options.port);
  app.add_option("--connections", options.connections);
  app.add_option("--texts-per-request", options.texts_per_request);
  app.add_option("--duration", options.duration_s);
  app.add_option("--base64", options.base64);
  CLI11_PARSE(app, argc, argv);
  return millrace::bench::run(options);
}
