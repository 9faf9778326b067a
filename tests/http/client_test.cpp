// The client against our server, and against peers that break the rules.
#include "http/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/error.h"
#include "http/canned_server.h"
#include "http/server_fixture.h"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;

ErrorCode failure(Client& client) {
  try {
    client.get("/");
  } catch (const Error& e) {
    return e.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::kInvalidArgument;
}

TEST(Client, SendsWhatItIsToldAndReusesTheConnection) {
  ServerOptions options;
  options.port = 0;
  std::atomic<int> num_remotes{0};
  std::string last_remote;
  Server server(options, [&](const std::shared_ptr<Exchange>& exchange) {
    const Request& request = exchange->request();
    if (request.remote != last_remote) ++num_remotes;
    last_remote = request.remote;
    const std::string type(request.headers.find("Content-Type").value_or("none"));
    exchange->respond(text_response(
        201, request.method + " " + request.target + " " + type + " " + request.body));
  });
  server.start();
  Client client("localhost", server.port());
  EXPECT_EQ(client.get("/a?b").body, "GET /a?b none ");
  const Response posted = client.post_json("/p", "{}");
  EXPECT_EQ(posted.status, 201);
  EXPECT_EQ(posted.body, "POST /p application/json {}");
  EXPECT_EQ(client.request("HEAD", "/h").body, "");
  EXPECT_EQ(client.get("/last").body, "GET /last none ");
  EXPECT_EQ(num_remotes, 1);
  client.close();
  client.get("/");
  EXPECT_EQ(num_remotes, 2);
}

TEST(Client, ConnectsAgainWhenTheServerClosedTheIdleConnection) {
  ServerOptions options;
  options.port = 0;
  options.idle_timeout = 100ms;
  Server server(options, [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(text_response(200, exchange->take_body()));
  });
  server.start();
  Client client("127.0.0.1", server.port());
  EXPECT_EQ(client.post_json("/", "1").body, "1");
  while (server.num_connections() > 0) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(client.post_json("/", "2").body, "2");
}

TEST(Client, ReadsChunkedAndUnframedAnswers) {
  const CannedServer peer(
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
       "HTTP/1.1 200 OK\r\n\r\nuntil the end"});
  Client client("127.0.0.1", peer.port());
  EXPECT_EQ(client.get("/").body, "abc");
  EXPECT_EQ(client.get("/").body, "until the end");
}

TEST(Client, TellsFailuresApart) {
  uint16_t unused = 0;
  {
    ServerOptions options;
    options.port = 0;
    unused = Server(options, [](const std::shared_ptr<Exchange>&) {}).port();
  }
  Client nobody("127.0.0.1", unused);
  EXPECT_EQ(failure(nobody), ErrorCode::kUnavailable);

  const CannedServer peer(
      {"SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"});
  Client client("127.0.0.1", peer.port());
  EXPECT_EQ(failure(client), ErrorCode::kCorrupt);
  EXPECT_EQ(failure(client), ErrorCode::kIo);

  ServerOptions options;
  options.port = 0;
  std::shared_ptr<Exchange> held;
  Server silent(options, [&](std::shared_ptr<Exchange> exchange) { held = std::move(exchange); });
  silent.start();
  Client waiting("127.0.0.1", silent.port(), {.timeout = 100ms});
  EXPECT_EQ(failure(waiting), ErrorCode::kCancelled);
}

TEST(Client, HandsTheBodyOutAsItArrivesAndTakesANo) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  std::shared_ptr<ResponseStream> stream;
  std::atomic<bool> has_stream{false};
  const auto answer = [&](std::shared_ptr<Exchange>& exchange) {
    exchange = held.take();
    ASSERT_TRUE(exchange);
    stream = exchange->start_stream({});
    has_stream = true;
    stream->write("one");
  };
  Client client("127.0.0.1", server.port());
  for (const bool decline : {false, true}) {
    std::string seen;
    std::shared_ptr<Exchange> exchange;
    std::thread answering([&] { answer(exchange); });
    const BodyHooks hooks{.on_head = [&](const Response&) { seen += '>'; },
                          .on_body =
                              [&](std::string_view piece) {
                                EXPECT_TRUE(has_stream);
                                seen += piece;
                                if (decline) return false;
                                stream->end();
                                return true;
                              }};
    if (decline) {
      try {
        client.request("GET", "/", {}, {}, hooks);
        FAIL() << "took it all";
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::kCancelled);
      }
    } else {
      EXPECT_EQ(client.request("GET", "/", {}, {}, hooks).body, "");
    }
    answering.join();
    EXPECT_EQ(seen, ">one");
    if (!decline) continue;
    EXPECT_TRUE(happens(closing(*exchange)));
  }
}

}  // namespace
}  // namespace millrace::http
