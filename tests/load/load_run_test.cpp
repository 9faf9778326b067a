// Whole loads against servers that answer, stall, refuse, lie and disappear.
#include "load/load_run.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "http/server_fixture.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;
using http::Exchange;
using http::Server;

constexpr const char* kAnswer = R"({"data":[1],"usage":{"prompt_tokens":7}})";

EncoderLoadOptions options_for(const Server& server) {
  EncoderLoadOptions options;
  options.server = {.host = "127.0.0.1", .port = server.port()};
  options.path = "/v1/embeddings";
  options.warmup = 0s;
  options.duration = 300ms;
  options.timeout = 20s;
  return options;
}

LoadReport run(const EncoderLoadOptions& options) {
  return run_load(options, nullptr);
}

TEST(LoadRun, ClosedLoopSendsTheNumberAskedForOverItsConnections) {
  std::atomic<int> num_requests{0};
  std::atomic<int> num_in_work{0};
  std::atomic<int> most_in_work{0};
  Server server(http::test_options(), [&](const std::shared_ptr<Exchange>& exchange) {
    ++num_requests;
    most_in_work = std::max(most_in_work.load(), ++num_in_work);
    EXPECT_EQ(exchange->request().headers.find("authorization"), "Bearer k");
    --num_in_work;
    exchange->respond(http::json_response(200, kAnswer));
  });
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.num_requests = 500;
  options.concurrency = 7;
  options.headers = {{"authorization", "Bearer k"}};
  options.workload.inputs_per_request = 2;
  const LoadReport report = run(options);
  EXPECT_EQ(num_requests, 500);
  EXPECT_EQ(report.num_sent, 500u);
  EXPECT_EQ(report.statuses, (std::map<int, uint64_t>{{200, 500}}));
  EXPECT_EQ(report.latency.count(), 500u);
  EXPECT_EQ(report.good.requests, 500u);
  EXPECT_EQ(report.good.inputs, 1000u);
  EXPECT_EQ(report.good.tokens, 3500u);
  EXPECT_LE(report.num_connects, 7u);
  EXPECT_LE(most_in_work, 7);
  EXPECT_TRUE(report.failures.empty());
}

TEST(LoadRun, WarmUpIsNotCounted) {
  std::atomic<int> num_requests{0};
  Server server(http::test_options(), [&](const std::shared_ptr<Exchange>& exchange) {
    ++num_requests;
    exchange->respond(http::json_response(200, kAnswer));
  });
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.warmup = 200ms;
  options.rate = 200;
  options.arrival = ArrivalKind::kConstant;
  const LoadReport report = run(options);
  // Arrivals at 0, 5, ... ms: 40 before the window, 60 in it.
  EXPECT_EQ(report.num_sent, 60u);
  // Those of the warm-up were sent as well; a few may follow before the end is noticed.
  EXPECT_GE(num_requests, 100);
  EXPECT_LE(num_requests, 120);
  EXPECT_NEAR(report.window, 0.3, 1e-6);
}

// What a closed loop hides: while the server stalls, the requests of an open loop are due, and
// wait from then on.
TEST(LoadRun, LatenciesOfAnOpenLoopCountFromTheIntendedSending) {
  constexpr auto kStall = 400ms;
  std::atomic<bool> stalled{false};
  http::ServerOptions one_worker = http::test_options();
  one_worker.num_threads = 1;
  Server server(one_worker, [&](const std::shared_ptr<Exchange>& exchange) {
    if (!stalled.exchange(true)) std::this_thread::sleep_for(kStall);
    exchange->respond(http::json_response(200, kAnswer));
  });
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.rate = 200;
  options.arrival = ArrivalKind::kConstant;
  const LoadReport report = run(options);
  EXPECT_EQ(report.latency.count(), 60u);
  EXPECT_GE(report.latency.max(), kStall);
  // All 60 were due within 300 ms and answered after 400.
  EXPECT_GE(report.latency.percentile(50), 200ms);
  EXPECT_GE(report.latency.min(), 100ms);
}

TEST(LoadRun, WhatIsDueBeyondTheBoundIsDroppedAndCounted) {
  http::Held held;
  Server server(http::test_options(), held.handler());
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.rate = 1000;
  options.arrival = ArrivalKind::kConstant;
  options.max_outstanding = 3;
  std::thread answering([&] {
    std::vector<std::shared_ptr<Exchange>> exchanges;
    for (int i = 0; i < 3; ++i) exchanges.push_back(held.take());
    std::this_thread::sleep_for(500ms);  // beyond the window
    for (const auto& exchange : exchanges) exchange->respond(http::json_response(200, kAnswer));
  });
  const LoadReport report = run(options);
  answering.join();
  EXPECT_EQ(report.num_sent, 3u);
  EXPECT_EQ(report.num_sent + report.num_dropped, 300u);
  EXPECT_EQ(report.good.requests, 0u);  // the answers came too late for the rate
  EXPECT_EQ(report.latency.count(), 3u);
}

TEST(LoadRun, AbortedRequestsAreNoFailures) {
  std::atomic<int> num_gone{0};
  Server server(http::test_options(), [&](std::shared_ptr<Exchange> exchange) {
    Exchange& e = *exchange;
    e.on_close([&num_gone, exchange = std::move(exchange)]() mutable {
      ++num_gone;
      exchange.reset();
    });
  });
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.abort_fraction = 1;
  options.concurrency = 20;
  options.num_requests = 200;
  const LoadReport report = run(options);
  EXPECT_EQ(report.num_aborted, 200u);
  EXPECT_TRUE(report.statuses.empty());
  EXPECT_TRUE(report.failures.empty());
  server.stop_now();
  EXPECT_GT(num_gone, 0);
}

TEST(LoadRun, CountsStatusesAndFailures) {
  std::atomic<int> number{0};
  Server server(http::test_options(), [&](const std::shared_ptr<Exchange>& exchange) {
    constexpr std::array kStatuses{200, 429, 503, 429};
    const int status = kStatuses.at(static_cast<size_t>(number++) % kStatuses.size());
    exchange->respond(http::json_response(status, kAnswer));
  });
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.num_requests = 100;
  options.concurrency = 1;
  const LoadReport report = run(options);
  EXPECT_EQ(report.statuses, (std::map<int, uint64_t>{{200, 25}, {429, 50}, {503, 25}}));
  EXPECT_EQ(report.refusals.count(), 50u);
  EXPECT_EQ(report.latency.count(), 25u);
  EXPECT_EQ(report.answered.requests, 100u);
  EXPECT_EQ(report.good.requests, 25u);
}

TEST(LoadRun, AConnectionThatIsToldToWaitWaits) {
  std::atomic<int> num_requests{0};
  Server server(http::test_options(), [&](const std::shared_ptr<Exchange>& exchange) {
    ++num_requests;
    http::Response response = http::json_response(429, "{}");
    response.headers.set("retry-after", "30");
    exchange->respond(std::move(response));
  });
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.concurrency = 3;
  EXPECT_EQ(run(options).statuses, (std::map<int, uint64_t>{{429, 3}}));
  EXPECT_EQ(num_requests, 3);
}

TEST(LoadRun, AServerThatStallsBeyondTheTimeoutIsAFailure) {
  http::Held held;
  Server server(http::test_options(), held.handler());
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.timeout = 50ms;
  options.num_requests = 4;
  options.concurrency = 2;
  const LoadReport report = run(options);
  EXPECT_EQ(report.failures, (std::map<std::string, uint64_t>{{"timed out", 4}}));
}

TEST(LoadRun, ChecksThatAnswersStayEqual) {
  std::atomic<bool> lying{false};
  std::atomic<int> number{0};
  Server server(http::test_options(), [&](const std::shared_ptr<Exchange>& exchange) {
    const std::string& body = exchange->request().body;
    const size_t value = std::hash<std::string>{}(body) % 1000 + (lying && number > 300 ? 1 : 0);
    ++number;
    exchange->respond(
        http::json_response(200, fmt::format(R"({{"id":{},"data":[{}]}})", number.load(), value)));
  });
  server.start();
  EncoderLoadOptions options = options_for(server);
  options.workload.lengths = LengthMix("5-20");
  options.num_probes = 4;
  options.num_requests = 500;
  const LoadReport honest = run(options);
  EXPECT_EQ(honest.check.num_probes, 4u);
  EXPECT_GE(honest.check.num_compared, 4u);
  EXPECT_EQ(honest.check.num_different, 0u);
  EXPECT_EQ(honest.check.num_missing, 0u);
  lying = true;
  number = 0;
  EXPECT_GE(run(options).check.num_different, 4u);
}

TEST(LoadRun, NobodyThereIsAnError) {
  EncoderLoadOptions options = options_for(Server(http::test_options(), http::echo));
  try {
    run(options);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  }
}

TEST(LoadRun, MoreConnectionsThanFilesIsAnError) {
  Server server(http::test_options(), http::echo);
  EncoderLoadOptions options = options_for(server);
  options.concurrency = 2'000'000'000;
  EXPECT_THROW(run(options), Error);
}

TEST(LoadRun, AnInterruptEndsTheRunWithWhatThereIs) {
  Server server(http::test_options(), [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(http::json_response(200, kAnswer));
  });
  server.start();
  std::atomic<bool> interrupted{false};
  EncoderLoadOptions options = options_for(server);
  options.duration = 1h;
  options.interrupted = &interrupted;
  std::thread interrupting([&] {
    while (server.num_connections() == 0) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(100ms);
    interrupted = true;
  });
  const LoadReport report = run(options);
  interrupting.join();
  EXPECT_GT(report.latency.count(), 0u);
  EXPECT_LT(report.window, 3600);
}

}  // namespace
}  // namespace millrace
