// Clients that leave, servers that stop, and both at once.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "http/server_fixture.h"

namespace millrace::http {
namespace {

TEST(ServerStop, TellsWhenTheClientLeaves) {
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

TEST(ServerStop, AHalfClosedClientIsToldOfAndStillAnswered) {
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

TEST(ServerStop, AClientThatLeavesWithPipelinedRequestsIsNoticed) {
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

TEST(ServerStop, NoCloseIsToldAfterTheAnswer) {
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

TEST(ServerStop, DrainLetsWorkFinish) {
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

TEST(ServerStop, DrainEndsAtItsDeadline) {
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

TEST(ServerStop, StopNowCutsEverythingAndIsIdempotent) {
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
TEST(ServerStop, SurvivesAnswersThatRaceWithLeavingAndStopping) {
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

}  // namespace
}  // namespace millrace::http
