// The server's limits, and clients that are slow, wrong or too many.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/client.h"
#include "http/server_fixture.h"

namespace millrace::http {
namespace {

TEST(ServerLimits, ReadsAheadOnlySoFarWhileARequestIsInWork) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  RawSocket socket(server.port());
  std::string text;
  const size_t num_requests = 8000;  // far more than the 64 KiB that are read ahead
  for (size_t i = 0; i < num_requests; ++i) text += "GET /now HTTP/1.1\r\nHost: h\r\n\r\n";
  socket.send("GET /first HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto first = held.take();
  ASSERT_TRUE(first);
  std::thread sender([&] { socket.send(text + kGetClose); });
  std::this_thread::sleep_for(50ms);
  first->respond(text_response(202, ""));
  std::thread last([&] {
    if (const auto exchange = held.take()) exchange->respond(text_response(203, ""));
  });
  const std::vector<int> got = statuses(socket.read_to_end());
  sender.join();
  last.join();
  ASSERT_EQ(got.size(), num_requests + 2);
  EXPECT_EQ(got.front(), 202);
  EXPECT_EQ(got.back(), 203);
}

struct Refusal {
  int status;
  std::string text;
};

TEST(ServerLimits, RefusesAndClosesWithItsStatus) {
  ServerOptions options = test_options();
  options.max_header_bytes = 2000;
  options.max_headers = 10;
  options.max_body_bytes = 1000;
  std::mutex mutex;
  std::vector<int> told;
  options.error_body = [&](int status, std::string_view message, const Request&) {
    EXPECT_FALSE(message.empty());
    std::lock_guard lock(mutex);
    told.push_back(status);
    return json_response(status, "{}");
  };
  Server server(options, echo);
  server.start();
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 20; ++i) many += "X: y\r\n";
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  const std::vector<Refusal> refusals = {
      {400, "garbage\r\n\r\n"},
      {400, std::string("\x16\x03\x01", 3)},
      {400, post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {413, post + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'x')},
      {413, post + "Content-Length: 30000000\r\n\r\n" + std::string(30'000'000, 'x')},
      {413, post + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x')},
      {414, "GET /" + std::string(3000, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n"},
      {417, "GET / HTTP/1.1\r\nHost: h\r\nExpect: much\r\n\r\n"},
      {431, "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(3000, 'x') + "\r\n\r\n"},
      {431, many + "\r\n"},
      {501, post + "Transfer-Encoding: gzip\r\n\r\n"},
      {505, "GET / HTTP/3.0\r\nHost: h\r\n\r\n"},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.text.substr(0, 100));
    RawSocket socket(server.port());
    // What stands behind a refused request is never read as another one.
    EXPECT_TRUE(socket.send(kGet + refusal.text + kGet));  // swallowed, not reset
    const std::string got = socket.read_to_end();
    EXPECT_EQ(statuses(got), (std::vector<int>{200, refusal.status}));
    EXPECT_NE(got.find("connection: close\r\n"), std::string::npos);
    EXPECT_TRUE(got.ends_with("\r\n\r\n{}"));
    EXPECT_EQ(told.back(), refusal.status);
  }
}

TEST(ServerLimits, TimesOutSlowClients) {
  ServerOptions options = test_options();
  options.header_timeout = 200ms;
  options.body_timeout = 200ms;
  options.idle_timeout = 200ms;
  Server server(options, echo);
  server.start();

  RawSocket silent(server.port());
  RawSocket idle(server.port());
  idle.send(kGet);
  RawSocket slow_body(server.port());
  slow_body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
  RawSocket slow_header(server.port());
  std::atomic<bool> ended{false};
  std::thread drip([&] {  // each byte is progress, and none of them helps
    slow_header.send("GET / HTTP/1.1\r\nHost: h\r\nX: ");
    while (!ended && slow_header.send("a")) std::this_thread::sleep_for(20ms);
  });

  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_TRUE(silent.closed());
  EXPECT_EQ(statuses(idle.read_to_end()), (std::vector<int>{200}));
  EXPECT_TRUE(idle.closed());
  EXPECT_EQ(statuses(slow_body.read_to_end()), (std::vector<int>{408}));
  EXPECT_TRUE(slow_body.closed());
  EXPECT_EQ(statuses(slow_header.read_until("long")), (std::vector<int>{408}));
  ended = true;
  drip.join();
}

TEST(ServerLimits, ABodyThatDripsIsCutInTheEnd) {
  ServerOptions options = test_options();
  options.body_timeout = 10s;
  options.receive_timeout = 200ms;
  Server server(options, echo);
  server.start();
  RawSocket socket(server.port());
  socket.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
  std::atomic<bool> ended{false};
  std::thread drip([&] {
    while (!ended && socket.send("a")) std::this_thread::sleep_for(20ms);
  });
  EXPECT_EQ(statuses(socket.read_until("long")), (std::vector<int>{408}));
  ended = true;
  drip.join();
}

TEST(ServerLimits, BodiesOfAllConnectionsTogetherAreBounded) {
  ServerOptions options = test_options();
  options.max_body_bytes = 1000;
  options.max_total_body_bytes = 1500;
  Held held;
  Server server(options, held.handler());
  server.start();
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n";
  const std::string body(1000, 'x');
  RawSocket first(server.port());
  first.send(post + "Connection: close\r\n\r\n" + body);
  const auto exchange = held.take();
  ASSERT_TRUE(exchange);
  {
    RawSocket second(server.port());
    second.send(post + "\r\n" + body);
    const std::string got = second.read_to_end();
    EXPECT_EQ(statuses(got), (std::vector<int>{503}));
    EXPECT_NE(got.find("retry-after: 1\r\n"), std::string::npos);
  }
  exchange->respond(text_response(200, ""));
  EXPECT_EQ(statuses(first.read_to_end()), (std::vector<int>{200}));

  RawSocket third(server.port());  // what was refused and what was answered hold nothing
  third.send(post + "Connection: close\r\n\r\n" + body);
  const auto later = held.take();
  ASSERT_TRUE(later);
  later->respond(text_response(201, ""));
  EXPECT_EQ(statuses(third.read_to_end()), (std::vector<int>{201}));
}

TEST(ServerLimits, WhoIsNotAdmittedIsToldBeforeTheBody) {
  ServerOptions options = test_options();
  options.admit = [](const Request& head) -> std::optional<Response> {
    if (head.headers.find("key")) return std::nullopt;
    return text_response(401, head.path);
  };
  Server server(options, echo);
  server.start();
  RawSocket socket(server.port());
  socket.send("POST /a HTTP/1.1\r\nHost: h\r\nX-Request-Id: r7\r\nContent-Length: 9000000\r\n\r\n");
  const std::string got = socket.read_to_end();  // not a byte of the body was sent
  EXPECT_EQ(statuses(got), (std::vector<int>{401}));
  EXPECT_TRUE(got.ends_with("\r\n\r\n/a"));
  EXPECT_NE(got.find("x-request-id: r7\r\n"), std::string::npos);
  Client client("127.0.0.1", server.port());
  EXPECT_EQ(client.request("POST", "/b", {{"key", "k"}}, "{}").status, 200);
}

TEST(ServerLimits, ABodyThatKeepsComingIsNotCut) {
  ServerOptions options = test_options();
  options.header_timeout = 300ms;
  options.body_timeout = 300ms;
  Server server(options, echo);
  server.start();
  RawSocket socket(server.port());
  socket.send("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 20\r\n\r\n");
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(30ms);
    socket.send("x");
  }
  EXPECT_EQ(statuses(socket.read_to_end()), (std::vector<int>{200}));
}

TEST(ServerLimits, AClientThatDoesNotReadIsCut) {
  ServerOptions options = test_options();
  options.write_timeout = 200ms;
  std::promise<bool> gone;
  options.on_access = [&](const AccessRecord& record) { gone.set_value(record.client_gone); };
  Server server(options, [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(text_response(200, std::string(64 * 1024 * 1024, 'x')));
  });
  server.start();
  RawSocket socket(server.port());
  socket.send(kGet);
  EXPECT_TRUE(gone.get_future().get());
}

TEST(ServerLimits, TruncatedRequestsGet400WhereTheClientStillReads) {
  Server server(test_options(), echo);
  server.start();
  for (const std::string text :
       {"GET / HT", "GET / HTTP/1.1\r\nHost: h\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"}) {
    RawSocket socket(server.port());
    socket.send(text);
    socket.half_close();
    EXPECT_EQ(statuses(socket.read_to_end()), (std::vector<int>{400})) << text;
    RawSocket rude(server.port());
    rude.send(text);
    rude.reset();
  }
  RawSocket nothing(server.port());
  nothing.half_close();
  EXPECT_EQ(nothing.read_to_end(), "");
  EXPECT_TRUE(nothing.closed());
  EXPECT_EQ(Client("127.0.0.1", server.port()).get("/").status, 200);
}

TEST(ServerLimits, RefusesConnectionsBeyondTheLimit) {
  ServerOptions options = test_options();
  options.max_connections = 2;
  Server server(options, echo);
  server.start();
  RawSocket first(server.port());
  RawSocket second(server.port());
  first.send(kGet);
  second.send(kGet);
  first.read_until("\r\n\r\n");
  second.read_until("\r\n\r\n");
  {
    RawSocket third(server.port());
    third.send(kGet);
    EXPECT_EQ(statuses(third.read_to_end()), (std::vector<int>{503}));
  }
  first.send(kGet);  // those inside are not disturbed
  EXPECT_EQ(statuses(first.read_until("\r\n\r\n")), (std::vector<int>{200}));
  first.close();
  for (int attempt = 0; attempt < 1000; ++attempt) {  // until the server has seen the close
    RawSocket next(server.port());
    next.send(kGetClose);
    if (statuses(next.read_to_end()) == std::vector<int>{200}) return;
    std::this_thread::sleep_for(10ms);
  }
  FAIL() << "the freed place was never given";
}

}  // namespace
}  // namespace millrace::http
