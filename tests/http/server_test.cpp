// The server on real sockets: answers, limits, clients that misbehave or leave, and both stops.
#include "http/server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/client.h"
#include "http/raw_socket.h"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;

ServerOptions test_options() {
  ServerOptions options;
  options.port = 0;
  return options;
}

void echo(const std::shared_ptr<Exchange>& exchange) {
  Response response{.headers = {{"x-path", exchange->request().path}}};
  response.body = exchange->take_body();
  exchange->respond(std::move(response));
}

// A server whose handler keeps the exchanges, for the test to answer when it wants.
class Held {
 public:
  Handler handler() {
    return [this](std::shared_ptr<Exchange> exchange) {
      if (exchange->request().path == "/now") return echo(exchange);
      std::lock_guard lock(mutex_);
      exchanges_.push_back(std::move(exchange));
      arrived_.notify_all();
    };
  }

  std::shared_ptr<Exchange> take() {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, 20s, [&] { return !exchanges_.empty(); })) return nullptr;
    auto exchange = std::move(exchanges_.front());
    exchanges_.erase(exchanges_.begin());
    return exchange;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::shared_ptr<Exchange>> exchanges_;
};

// Resolves when the client of `exchange` has gone.
std::future<void> closing(Exchange& exchange) {
  auto promise = std::make_shared<std::promise<void>>();
  auto future = promise->get_future();
  exchange.on_close([promise] { promise->set_value(); });
  return future;
}

bool happens(const std::future<void>& future) {
  return future.wait_for(20s) == std::future_status::ready;
}

size_t count(std::string_view text, std::string_view part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++n;
  return n;
}

// The statuses of a raw stream of responses, in order.
std::vector<int> statuses(std::string_view text) {
  std::vector<int> out;
  for (size_t at = 0; (at = text.find("HTTP/1.1 ", at)) != std::string_view::npos; at += 9) {
    out.push_back(std::stoi(std::string(text.substr(at + 9, 3))));
  }
  return out;
}

const std::string kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const std::string kGetClose = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

TEST(Server, AnswersAndKeepsTheConnection) {
  Server server(test_options(), echo);
  server.start();
  Client client("127.0.0.1", server.port());
  for (int i = 0; i < 10; ++i) {
    const std::string body(static_cast<size_t>(i) * 50'000, static_cast<char>('a' + i));
    const Response response = client.request("POST", "/p%20q", {}, body);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.headers.find("X-Path"), "/p q");
    EXPECT_EQ(response.body, body);
  }
  EXPECT_EQ(server.num_connections(), 1u);
}

TEST(Server, BindsAtConstructionAndNamesTheRemedy) {
  Server first(test_options(), echo);
  first.start();
  ServerOptions taken = test_options();
  taken.port = first.port();
  try {
    Server second(taken, echo);
    FAIL() << "bound a taken port";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kIo);
    EXPECT_NE(e.message().find(std::to_string(first.port())), std::string::npos);
    EXPECT_NE(e.hint().find("--port"), std::string::npos);
  }
  ServerOptions nowhere = test_options();
  nowhere.host = "no such host";
  EXPECT_THROW(Server(nowhere, echo), Error);
  ServerOptions foreign = test_options();
  foreign.host = "192.0.2.1";  // TEST-NET-1 of RFC 5737: nobody's
  EXPECT_THROW(Server(foreign, echo), Error);
  EXPECT_EQ(first.address(), "http://127.0.0.1:" + std::to_string(first.port()));
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  RawSocket socket(server.port());
  std::string text;
  for (int i = 0; i < 5; ++i) {
    text += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  }
  socket.send(text + "GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  for (int i = 0; i < 5; ++i) {
    const auto exchange = held.take();
    ASSERT_TRUE(exchange);
    EXPECT_EQ(exchange->request().path, "/" + std::to_string(i));
    exchange->respond(text_response(200 + i, "body" + std::to_string(i)));
  }
  const std::string got = socket.read_to_end();
  EXPECT_EQ(statuses(got), (std::vector<int>{200, 201, 202, 203, 204, 200}));
  EXPECT_LT(got.find("body0"), got.find("body1"));
  EXPECT_EQ(count(got, "body4"), 0u);  // 204 has no body
}

TEST(Server, ReadsAheadOnlySoFarWhileARequestIsInWork) {
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

TEST(Server, AnswersFromAnotherThreadOnce) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  std::thread engine([&] {
    for (int i = 0; i < 100; ++i) {
      const auto exchange = held.take();
      ASSERT_TRUE(exchange);
      EXPECT_TRUE(exchange->respond(text_response(200, exchange->take_body())));
      EXPECT_FALSE(exchange->respond(text_response(500, "late")));
    }
  });
  Client client("127.0.0.1", server.port());
  for (int i = 0; i < 100; ++i) {
    const std::string body = std::to_string(i);
    const Response response = client.post_json("/x", body);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, body);
  }
  engine.join();
}

TEST(Server, AnswersForAHandlerThatThrowsOrForgets) {
  ServerOptions options = test_options();
  options.error_body = [](int status, std::string_view) {
    return json_response(status, "{\"code\":" + std::to_string(status) + "}");
  };
  Server server(options, [](const std::shared_ptr<Exchange>& exchange) {
    if (exchange->request().path == "/throw") throw std::runtime_error("broken");
  });
  server.start();
  Client client("127.0.0.1", server.port());
  for (const char* path : {"/throw", "/forget", "/throw"}) {
    const Response response = client.get(path);
    EXPECT_EQ(response.status, 500);
    EXPECT_EQ(response.body, "{\"code\":500}");
  }
  EXPECT_EQ(server.num_connections(), 1u);
}

TEST(Server, HeadHasLengthButNoBody) {
  Server server(test_options(), [](const std::shared_ptr<Exchange>& exchange) {
    exchange->respond(text_response(200, "twelve bytes"));
  });
  server.start();
  RawSocket socket(server.port());
  socket.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + kGetClose);
  const std::string got = socket.read_to_end();
  EXPECT_EQ(statuses(got), (std::vector<int>{200, 200}));
  EXPECT_EQ(count(got, "content-length: 12\r\n"), 2u);
  EXPECT_EQ(count(got, "twelve bytes"), 1u);
}

TEST(Server, SpeaksHttp10) {
  Server server(test_options(), echo);
  server.start();
  RawSocket kept(server.port());
  kept.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
  const std::string got = kept.read_to_end();
  EXPECT_TRUE(kept.closed());
  EXPECT_EQ(statuses(got), (std::vector<int>{200, 200}));
  EXPECT_EQ(count(got, "connection: keep-alive"), 1u);
  EXPECT_EQ(count(got, "connection: close"), 1u);
}

TEST(Server, HeadersCannotBeInjected) {
  Server server(test_options(), [](const std::shared_ptr<Exchange>& exchange) {
    Response response;
    response.headers.add("x-echo", "a\r\nset-cookie: b");
    response.headers.add("Content-Length", "999");
    response.headers.add("connection", "upgrade");
    exchange->respond(std::move(response));
  });
  server.start();
  RawSocket socket(server.port());
  socket.send(kGetClose);
  const std::string got = socket.read_to_end();
  EXPECT_NE(got.find("x-echo: a??set-cookie: b\r\n"), std::string::npos) << got;
  EXPECT_NE(got.find("content-length: 0\r\n"), std::string::npos) << got;
  EXPECT_EQ(count(got, "999"), 0u);
  EXPECT_EQ(count(got, "upgrade"), 0u);
}

TEST(Server, Continues) {
  ServerOptions options = test_options();
  options.max_body_bytes = 100;
  Server server(options, echo);
  server.start();
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: ";
  RawSocket socket(server.port());
  socket.send(head + "5\r\n\r\n");
  EXPECT_EQ(socket.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  socket.send("hello");
  EXPECT_EQ(statuses(socket.read_until("hello")), (std::vector<int>{200}));
  socket.send(head + "5\r\nConnection: close\r\n\r\nhello");  // it did not wait: no 100 is due
  EXPECT_EQ(statuses(socket.read_to_end()), (std::vector<int>{200}));

  RawSocket large(server.port());
  large.send(head + "101\r\n\r\n");
  EXPECT_EQ(statuses(large.read_to_end()), (std::vector<int>{413}));
}

struct Refusal {
  int status;
  std::string text;
};

TEST(Server, RefusesAndClosesWithItsStatus) {
  ServerOptions options = test_options();
  options.max_header_bytes = 2000;
  options.max_headers = 10;
  options.max_body_bytes = 1000;
  std::mutex mutex;
  std::vector<int> told;
  options.error_body = [&](int status, std::string_view message) {
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
      {413, post + "Content-Length: 3000000\r\n\r\n" + std::string(3'000'000, 'x')},
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
    socket.send(kGet + refusal.text + kGet);
    const std::string got = socket.read_to_end();
    EXPECT_EQ(statuses(got), (std::vector<int>{200, refusal.status}));
    EXPECT_NE(got.find("connection: close\r\n"), std::string::npos);
    EXPECT_TRUE(got.ends_with("\r\n\r\n{}"));
    EXPECT_EQ(told.back(), refusal.status);
  }
}

TEST(Server, TimesOutSlowClients) {
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

TEST(Server, ABodyThatKeepsComingIsNotCut) {
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

TEST(Server, AClientThatDoesNotReadIsCut) {
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

TEST(Server, TruncatedRequestsGet400WhereTheClientStillReads) {
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

TEST(Server, TellsWhenTheClientLeaves) {
  Held held;
  std::promise<int> logged;
  ServerOptions options = test_options();
  options.on_access = [&](const AccessRecord& record) {
    EXPECT_TRUE(record.client_gone);
    logged.set_value(record.status);
  };
  Server server(options, held.handler());
  server.start();
  for (const bool reset : {false, true}) {
    logged = {};
    auto socket = std::make_unique<RawSocket>(server.port());
    socket->send(kGet);
    auto exchange = held.take();
    ASSERT_TRUE(exchange);
    auto closed = closing(*exchange);
    EXPECT_FALSE(exchange->cancelled());
    if (reset) socket->reset();
    socket.reset();
    EXPECT_TRUE(happens(closed));
    EXPECT_TRUE(exchange->cancelled());
    auto late = closing(*exchange);  // asked afterwards: told at once
    EXPECT_TRUE(happens(late));
    exchange.reset();  // the work is dropped: nothing is sent, and that is no error
    EXPECT_EQ(logged.get_future().get(), 499);
  }
}

TEST(Server, AHalfClosedClientIsToldOfAndStillAnswered) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  RawSocket socket(server.port());
  socket.send(kGet);
  socket.half_close();
  const auto exchange = held.take();
  ASSERT_TRUE(exchange);
  EXPECT_TRUE(happens(closing(*exchange)));
  exchange->respond(text_response(200, "all the same"));
  const std::string got = socket.read_to_end();
  EXPECT_EQ(statuses(got), (std::vector<int>{200}));
  EXPECT_TRUE(got.ends_with("all the same"));
}

TEST(Server, AClientThatLeavesWithPipelinedRequestsIsNoticed) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  RawSocket socket(server.port());
  socket.send(kGet);
  auto exchange = held.take();
  ASSERT_TRUE(exchange);
  socket.send(kGet + kGet);
  auto closed = closing(*exchange);
  socket.close();
  EXPECT_TRUE(happens(closed));
}

TEST(Server, NoCloseIsToldAfterTheAnswer) {
  Held held;
  std::atomic<int> told{0};
  {
    Server server(test_options(), held.handler());
    server.start();
    RawSocket socket(server.port());
    socket.send(kGetClose);
    const auto exchange = held.take();
    ASSERT_TRUE(exchange);
    exchange->on_close([&] { ++told; });
    exchange->respond(text_response(200, ""));
    exchange->on_close([&] { ++told; });
    EXPECT_EQ(statuses(socket.read_to_end()), (std::vector<int>{200}));
  }
  EXPECT_EQ(told, 0);
}

TEST(Server, ServesManyConnectionsAtOnce) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  const size_t num_connections = 200;
  std::vector<std::unique_ptr<RawSocket>> sockets;
  for (size_t i = 0; i < num_connections; ++i) {
    sockets.push_back(std::make_unique<RawSocket>(server.port()));
    ASSERT_TRUE(sockets.back()->send("GET /" + std::to_string(i) +
                                     " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
  }
  std::vector<std::shared_ptr<Exchange>> waiting;
  for (size_t i = 0; i < num_connections; ++i) {
    waiting.push_back(held.take());
    ASSERT_TRUE(waiting.back());
  }
  EXPECT_EQ(server.num_connections(), num_connections);
  std::reverse(waiting.begin(), waiting.end());
  for (const auto& exchange : waiting) {
    exchange->respond(text_response(200, "path=" + exchange->request().path + ";"));
  }
  for (size_t i = 0; i < num_connections; ++i) {
    EXPECT_NE(sockets[i]->read_to_end().find("path=/" + std::to_string(i) + ";"),
              std::string::npos);
  }
}

TEST(Server, RefusesConnectionsBeyondTheLimit) {
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

TEST(Server, DrainLetsWorkFinish) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  RawSocket idle(server.port());
  idle.send("GET /now HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(statuses(idle.read_until("\r\n\r\n")), (std::vector<int>{200}));
  RawSocket busy(server.port());
  busy.send(kGet);
  const auto exchange = held.take();
  ASSERT_TRUE(exchange);

  auto drained = std::async(std::launch::async, [&] { return server.drain(20s); });
  EXPECT_EQ(idle.read_to_end(), "");
  EXPECT_TRUE(idle.closed());
  EXPECT_FALSE(RawSocket(server.port()).connected());
  EXPECT_FALSE(exchange->cancelled());
  exchange->respond(text_response(200, "done"));
  const std::string got = busy.read_to_end();
  EXPECT_EQ(statuses(got), (std::vector<int>{200}));
  EXPECT_NE(got.find("connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(drained.get());
}

TEST(Server, DrainEndsAtItsDeadline) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  RawSocket busy(server.port());
  busy.send(kGet);
  const auto exchange = held.take();
  ASSERT_TRUE(exchange);
  auto closed = closing(*exchange);
  EXPECT_FALSE(server.drain(50ms));
  EXPECT_TRUE(happens(closed));
  EXPECT_EQ(busy.read_to_end(), "");
  EXPECT_TRUE(exchange->respond(text_response(200, "too late")));  // harmless
}

TEST(Server, StopNowCutsEverythingAndIsIdempotent) {
  Held held;
  std::shared_ptr<Exchange> survivor;
  {
    Server server(test_options(), held.handler());
    server.start();
    RawSocket busy(server.port());
    busy.send(kGet);
    survivor = held.take();
    ASSERT_TRUE(survivor);
    RawSocket reading(server.port());
    reading.send("GET / HT");
    server.stop_now();
    server.stop_now();
    EXPECT_TRUE(survivor->cancelled());
    EXPECT_EQ(busy.read_to_end(), "");
    EXPECT_TRUE(busy.closed());
    EXPECT_EQ(server.num_connections(), 0u);
  }
  survivor->respond(text_response(200, "nobody listens"));
  Server never_started(test_options(), echo);
}

// Threads answer while clients leave and the server stops: nothing may crash, leak or hang.
TEST(Server, SurvivesAnswersThatRaceWithLeavingAndStopping) {
  for (int round = 0; round < 20; ++round) {
    Held held;
    auto server = std::make_unique<Server>(test_options(), held.handler());
    server->start();
    std::vector<std::unique_ptr<RawSocket>> sockets;
    for (int i = 0; i < 16; ++i) {
      sockets.push_back(std::make_unique<RawSocket>(server->port()));
      sockets.back()->send(kGet + kGet);
    }
    std::vector<std::shared_ptr<Exchange>> exchanges;
    for (int i = 0; i < 16; ++i) exchanges.push_back(held.take());
    std::thread engine([&] {
      for (auto& exchange : exchanges) {
        exchange->respond(text_response(200, "x"));
        exchange.reset();
      }
    });
    std::thread clients([&] { sockets.clear(); });
    if (round % 2) {
      server->drain(5ms);
    } else {
      server->stop_now();
    }
    if (round % 4 < 2) server.reset();
    engine.join();
    clients.join();
  }
}

TEST(Server, TellsOfEachAccess) {
  struct Seen {
    std::string method, path;
    int status;
    size_t request_bytes, response_bytes;
  };
  std::mutex mutex;
  std::vector<Seen> seen;
  ServerOptions options = test_options();
  options.on_access = [&](const AccessRecord& r) {
    EXPECT_FALSE(r.request.remote.empty());
    std::lock_guard lock(mutex);
    seen.push_back({r.request.method, r.request.path, r.status, r.request_bytes, r.response_bytes});
  };
  std::string raw;
  {
    Server server(options, echo);
    server.start();
    RawSocket socket(server.port());
    socket.send(
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        "nonsense\r\n\r\n");
    raw = socket.read_to_end();
  }
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].method, "POST");
  EXPECT_EQ(seen[0].path, "/a");
  EXPECT_EQ(seen[0].status, 200);
  EXPECT_EQ(seen[0].request_bytes, 3u);
  EXPECT_EQ(seen[1].status, 400);
  EXPECT_EQ(seen[0].response_bytes + seen[1].response_bytes, raw.size());
}

}  // namespace
}  // namespace millrace::http
