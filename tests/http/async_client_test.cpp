// The client of many connections against our server, and against peers that break the rules.
#include "http/async_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

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

// A server that streams "a", "b", ... one after the other was asked for, and what a call saw of it.
struct Streamed {
  Held held;
  Server server{test_options(), held.handler()};
  AsyncClient client{(server.start(), "127.0.0.1"), server.port()};
  std::shared_ptr<Exchange> exchange;
  std::shared_ptr<ResponseStream> stream;
  std::atomic<bool> has_stream{false};
  std::string seen;
  std::optional<CallResult> result;
  AsyncClient::CallId id = 0;

  // `after`: what is done when `seen` is as long as given.
  void run(size_t length, std::function<bool()> after) {
    id = client.send(post(""), [&](CallResult r) { result = std::move(r); }, {},
                     {.on_head =
                          [&](const Response& head) {
                            EXPECT_EQ(head.status, 201);
                            EXPECT_EQ(head.headers.find("x-kind"), "stream");
                            EXPECT_EQ(seen, "");
                            seen = ">";
                          },
                      .on_body =
                          [&, length, after = std::move(after)](std::string_view piece) {
                            EXPECT_TRUE(has_stream);
                            seen += piece;
                            if (seen.size() == length) return after();
                            stream->write(std::string(1, static_cast<char>('a' + seen.size() - 1)));
                            return true;
                          }});
    std::thread answering([&] {
      exchange = held.take();
      ASSERT_TRUE(exchange);
      stream = exchange->start_stream({.status = 201, .headers = {{"x-kind", "stream"}}});
      has_stream = true;
      stream->write("a");
    });
    client.run();
    answering.join();
  }
};

TEST(AsyncClient, HandsTheBodyOutAsItArrives) {
  Streamed s;
  s.run(6, [&] {
    s.stream->end();
    return true;
  });
  EXPECT_EQ(s.seen, ">abcde");  // each was written when the one before had been seen
  ASSERT_TRUE(s.result);
  EXPECT_EQ(s.result->outcome, CallOutcome::kAnswered);
  EXPECT_EQ(s.result->response.status, 201);
  EXPECT_EQ(s.result->response.body, "");
  EXPECT_EQ(s.client.num_connections(), 1u);  // kept
}

TEST(AsyncClient, ABodyThatIsDeclinedClosesTheConnection) {
  Streamed s;
  s.run(3, [] { return false; });
  ASSERT_TRUE(s.result);
  EXPECT_EQ(s.result->outcome, CallOutcome::kAborted);
  EXPECT_EQ(s.client.num_connections(), 0u);
  EXPECT_TRUE(happens(closing(*s.exchange)));
}

TEST(AsyncClient, AbortsAStreamAndACallThatIsNotAnswered) {
  Streamed s;
  s.run(3, [&] {
    s.client.at(std::chrono::steady_clock::now() + 20ms, [&] { s.client.abort(s.id); });
    return true;
  });
  ASSERT_TRUE(s.result);
  EXPECT_EQ(s.result->outcome, CallOutcome::kAborted);
  EXPECT_TRUE(happens(closing(*s.exchange)));

  std::optional<CallResult> silent;
  const auto id = s.client.send(post(""), [&](CallResult r) { silent = std::move(r); });
  s.client.at(std::chrono::steady_clock::now() + 20ms, [&] { s.client.abort(id); });
  s.client.run();
  EXPECT_EQ(silent.value().outcome, CallOutcome::kAborted);
  std::optional<CallResult> early;
  s.client.abort(s.client.send(post(""), [&](CallResult r) { early = std::move(r); }));
  s.client.run();
  EXPECT_EQ(early.value().outcome, CallOutcome::kAborted);
  EXPECT_EQ(s.client.num_connections(), 0u);
  s.client.abort(id);  // done already
}

TEST(AsyncClient, AStreamThatBreaksOffIsNoAnswer) {
  Streamed s;
  s.run(3, [&] {
    s.stream.reset();
    return true;
  });
  ASSERT_TRUE(s.result);
  EXPECT_EQ(s.seen, ">ab");
  EXPECT_EQ(s.result->outcome, CallOutcome::kBroken);
}

TEST(AsyncClient, TellsTheHeadOfAnAnswerWithoutBody) {
  Server server(test_options(), [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond({.status = exchange->request().path == "/no" ? 204 : 200});
  });
  server.start();
  AsyncClient client("127.0.0.1", server.port());
  for (const auto& [path, status] : {std::pair("/no", 204), std::pair("/empty", 200)}) {
    std::vector<int> heads;
    client.send(post("", path), [&](const CallResult& r) { heads.push_back(r.response.status); },
                {}, {.on_head = [&](const Response& head) { heads.push_back(head.status); }});
    client.run();
    EXPECT_EQ(heads, (std::vector<int>{status, status}));
  }
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
