// The client of many connections against our server, and against peers that break the rules.
#include "http/async_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "base/error.h"
#include "http/canned_server.h"
#include "http/server_fixture.h"

namespace millrace::http {
namespace {

Request post(std::string body, std::string target = "/") {
  Request request{.method = "POST", .target = std::move(target)};
  request.body = std::move(body);
  return request;
}

// One call from start to end.
CallResult call(AsyncClient& client, Request request,
                std::optional<std::chrono::nanoseconds> abort_after = {}) {
  std::optional<CallResult> out;
  client.send(
      std::move(request), [&](CallResult result) { out = std::move(result); }, abort_after);
  client.run();
  return out.value();
}

TEST(AsyncClient, SendsWhatItIsToldAndKeepsTheConnection) {
  Server server(test_options(), [](const std::shared_ptr<Exchange>& exchange) {
    const Request& request = exchange->request();
    Response response =
        text_response(201, request.method + " " + request.target + " " + request.body + " " +
                               std::string(request.headers.find("x-a").value_or("none")));
    response.headers.add("x-b", "c");
    exchange->respond(std::move(response));
  });
  server.start();
  AsyncClient client("localhost", server.port());
  Request first = post("{}", "/p?q");
  first.headers.add("x-a", "1");
  const CallResult answer = call(client, std::move(first));
  EXPECT_EQ(answer.outcome, CallOutcome::kAnswered);
  EXPECT_EQ(answer.response.status, 201);
  EXPECT_EQ(answer.response.body, "POST /p?q {} 1");
  EXPECT_EQ(answer.response.headers.find("X-B"), "c");
  EXPECT_EQ(call(client, {.method = "HEAD", .target = "/h"}).response.body, "");
  EXPECT_EQ(call(client, {.method = "GET", .target = "/g"}).response.body, "GET /g  none");
  EXPECT_EQ(client.num_connects(), 1u);
  EXPECT_EQ(client.num_connections(), 1u);
}

TEST(AsyncClient, HasAsManyConnectionsAsCallsAtATime) {
  constexpr int kCalls = 300;
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  AsyncClient client("127.0.0.1", server.port());
  std::thread answering([&] {
    std::vector<std::shared_ptr<Exchange>> exchanges;
    for (int i = 0; i < kCalls; ++i) exchanges.push_back(held.take());
    for (const auto& exchange : exchanges) echo(exchange);
  });
  std::vector<int> seen(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    client.send(post(std::to_string(i)), [&, i](const CallResult& result) {
      EXPECT_EQ(result.response.body, std::to_string(i));
      ++seen[static_cast<size_t>(i)];
    });
  }
  client.run();
  answering.join();
  EXPECT_EQ(seen, std::vector<int>(kCalls, 1));
  EXPECT_EQ(client.num_connections(), static_cast<size_t>(kCalls));
  int num_more = 0;
  for (int i = 0; i < kCalls; ++i) {
    client.send(post("", "/now"), [&](const CallResult& result) {
      num_more += result.outcome == CallOutcome::kAnswered ? 1 : 0;
    });
  }
  client.run();
  EXPECT_EQ(num_more, kCalls);
  EXPECT_EQ(client.num_connects(), static_cast<uint64_t>(kCalls));
}

TEST(AsyncClient, AbortsByClosingTheConnection) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  AsyncClient client("127.0.0.1", server.port());
  EXPECT_EQ(call(client, post(""), 30ms).outcome, CallOutcome::kAborted);
  const auto exchange = held.take();
  ASSERT_TRUE(exchange);
  EXPECT_TRUE(happens(closing(*exchange)));
  EXPECT_EQ(client.num_connections(), 0u);
  EXPECT_EQ(call(client, post("x", "/now"), 20s).response.body, "x");
}

TEST(AsyncClient, TimesOut) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  AsyncClient client("127.0.0.1", server.port(), {.timeout = 50ms});
  EXPECT_EQ(call(client, post("")).outcome, CallOutcome::kTimedOut);
  EXPECT_EQ(call(client, post(""), 20s).outcome, CallOutcome::kTimedOut);
}

TEST(AsyncClient, ReplacesAConnectionThatTheServerClosed) {
  ServerOptions options = test_options();
  options.idle_timeout = 50ms;
  Server server(options, echo);
  server.start();
  AsyncClient client("127.0.0.1", server.port());
  EXPECT_EQ(call(client, post("1")).response.body, "1");
  while (server.num_connections() > 0) std::this_thread::sleep_for(5ms);
  EXPECT_EQ(call(client, post("2")).response.body, "2");
  EXPECT_EQ(client.num_connects(), 2u);
  EXPECT_EQ(client.num_connections(), 1u);
}

TEST(AsyncClient, DoesNotKeepWhatTheServerSaysItCloses) {
  const CannedServer peer({"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
                           "HTTP/1.1 200 OK\r\n\r\nuntil the end"});
  AsyncClient client("127.0.0.1", peer.port());
  EXPECT_EQ(call(client, post("")).response.body, "a");
  EXPECT_EQ(client.num_connections(), 0u);
  EXPECT_EQ(call(client, post("")).response.body, "until the end");
}

TEST(AsyncClient, TellsFailuresApart) {
  const uint16_t unused = Server(test_options(), echo).port();
  AsyncClient nobody("127.0.0.1", unused);
  EXPECT_EQ(call(nobody, post("")).outcome, CallOutcome::kRefused);
  EXPECT_EQ(nobody.num_connections(), 0u);

  const CannedServer peer({"SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
                           "", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"});
  AsyncClient client("127.0.0.1", peer.port(), {.max_body_bytes = 50});
  EXPECT_EQ(call(client, post("")).outcome, CallOutcome::kGarbled);
  EXPECT_EQ(call(client, post("")).outcome, CallOutcome::kBroken);
  EXPECT_EQ(call(client, post("")).outcome, CallOutcome::kBroken);
  EXPECT_EQ(call(client, post("")).outcome, CallOutcome::kGarbled);

  EXPECT_THROW(AsyncClient("no-such-host.invalid", 80), Error);
}

TEST(AsyncClient, CallsBackAtTheTimesInOrderAndStops) {
  AsyncClient client("127.0.0.1", 1);
  std::string order;
  const auto now = std::chrono::steady_clock::now();
  client.at(now + 20ms, [&] { order += 'b'; });
  client.at(now + 10ms, [&] { order += 'a'; });
  client.at(now + 30ms, [&] { client.stop(); });
  client.at(now + 1h, [&] { order += 'z'; });
  client.run();
  EXPECT_EQ(order, "ab");
  client.at(now, [] { throw Error(ErrorCode::kCancelled, "enough"); });
  EXPECT_THROW(client.run(), Error);
}

}  // namespace
}  // namespace millrace::http
