// Streamed answers on real sockets: framing, clients that leave or do not read, ends of all kinds.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "http/client.h"
#include "http/server_fixture.h"

namespace millrace::http {
namespace {

Response event_stream() {
  Response head;
  head.headers.add("content-type", "text/event-stream");
  return head;
}

// The body behind the first empty line of `raw`, with its chunks joined. Fails on bad framing.
std::string dechunked(std::string_view raw) {
  raw.remove_prefix(raw.find("\r\n\r\n") + 4);
  std::string body;
  while (true) {
    const size_t line = raw.find("\r\n");
    if (line == std::string_view::npos) return body + "<no last chunk>";
    const size_t size = std::stoul(std::string(raw.substr(0, line)), nullptr, 16);
    if (size == 0) return body;
    body += raw.substr(line + 2, size);
    if (raw.substr(line + 2 + size, 2) != "\r\n") return body + "<no end of chunk>";
    raw.remove_prefix(line + 2 + size + 2);
  }
}

bool wait_until(const std::function<bool()>& condition) {
  for (int i = 0; i < 4000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

// A server whose handler keeps exchanges, and what it said of each access.
struct Streaming {
  explicit Streaming(ServerOptions options = test_options()) {
    options.on_access = [this](const AccessRecord& record) {
      std::lock_guard lock(mutex);
      statuses.push_back(record.status);
      last_bytes = record.response_bytes;
      last_gone = record.client_gone;
      last_cut_off = record.cut_off;
      last_duration = record.duration;
      num_streamed += record.streamed ? 1 : 0;
    };
    server = std::make_unique<Server>(std::move(options), held.handler());
    server->start();
  }
  ~Streaming() { server->stop_now(); }

  // Waits for the access record of the `count`-th answer.
  bool logged(size_t count) {
    return wait_until([&] {
      std::lock_guard lock(mutex);
      return statuses.size() >= count;
    });
  }

  Held held;
  std::mutex mutex;
  std::vector<int> statuses;
  size_t last_bytes = 0;
  bool last_gone = false;
  bool last_cut_off = false;
  std::chrono::nanoseconds last_duration{0};
  int num_streamed = 0;
  std::unique_ptr<Server> server;
};

TEST(Stream, SendsHeadAndPiecesAsTheyAreWritten) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  ASSERT_TRUE(stream);
  const std::string head = socket.read_until("\r\n\r\n");
  EXPECT_EQ(statuses(head), (std::vector<int>{200}));
  EXPECT_EQ(count(head, "transfer-encoding: chunked\r\n"), 1u);
  EXPECT_EQ(count(head, "content-type: text/event-stream\r\n"), 1u);
  EXPECT_EQ(count(head, "x-request-id: "), 1u);
  EXPECT_EQ(count(head, "content-length"), 0u);
  EXPECT_TRUE(stream->write("first"));
  EXPECT_EQ(socket.read_until("first\r\n"), "5\r\nfirst\r\n");
  EXPECT_TRUE(stream->write(""));  // no chunk: that would be the last one
  EXPECT_TRUE(stream->write(std::string(20, 'x')));
  EXPECT_EQ(socket.read_until("x\r\n"), "14\r\n" + std::string(20, 'x') + "\r\n");
  std::this_thread::sleep_for(30ms);
  stream->end();
  EXPECT_FALSE(stream->write("late"));
  EXPECT_EQ(socket.read_until("0\r\n\r\n"), "0\r\n\r\n");
  EXPECT_FALSE(exchange->respond(text_response(200, "late")));
  EXPECT_FALSE(exchange->start_stream(event_stream()));
  ASSERT_TRUE(s.logged(1));
  EXPECT_EQ(s.num_streamed, 1);
  EXPECT_FALSE(s.last_gone);
  EXPECT_EQ(s.last_bytes, head.size() + 10 + 26 + 5);
  EXPECT_GE(s.last_duration, 30ms);
}

TEST(Stream, KeepsTheConnectionAndServesWhatWasPipelined) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send(kGet + "GET /now HTTP/1.1\r\nHost: h\r\n\r\n" + kGetClose);
  for (const char* text : {"one", "two"}) {
    auto exchange = s.held.take();
    ASSERT_TRUE(exchange);
    const auto stream = exchange->start_stream(event_stream());
    exchange.reset();  // the stream is enough
    ASSERT_TRUE(stream);
    EXPECT_TRUE(stream->write(text));
    stream->end();
    stream->end();
  }
  const std::string got = socket.read_to_end();
  EXPECT_EQ(statuses(got), (std::vector<int>{200, 200, 200}));
  EXPECT_EQ(count(got, "3\r\none\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nx-path: /now"), 1u);
  EXPECT_TRUE(got.ends_with("3\r\ntwo\r\n0\r\n\r\n"));
  EXPECT_EQ(count(got, "connection: close"), 1u);
}

TEST(Stream, ToHttp10GoesUntilTheClose) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  ASSERT_TRUE(stream);
  stream->write("plain ");
  stream->write("bytes");
  stream->end();
  const std::string got = socket.read_to_end();
  EXPECT_TRUE(socket.closed());
  EXPECT_TRUE(got.ends_with("\r\n\r\nplain bytes")) << got;
  EXPECT_EQ(count(got, "connection: close\r\n"), 1u);
  EXPECT_EQ(count(got, "transfer-encoding"), 0u);
}

TEST(Stream, ToHeadIsClosedFromTheStart) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET /now HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  ASSERT_TRUE(stream);
  EXPECT_TRUE(happens(closing(*exchange)));
  EXPECT_TRUE(wait_until([&] { return stream->closed(); }));
  EXPECT_FALSE(stream->write("nobody reads this"));
  const std::string got = socket.read_until("/now\r\n");
  EXPECT_EQ(statuses(got), (std::vector<int>{200, 200}));
  EXPECT_EQ(count(got, "nobody"), 0u);
  EXPECT_EQ(count(got, "transfer-encoding: chunked\r\n\r\nHTTP/1.1"), 1u);
}

TEST(Stream, TellsAtOnceWhenTheClientLeaves) {
  Streaming s;
  size_t num = 0;
  for (const bool reset : {false, true}) {
    auto socket = std::make_unique<RawSocket>(s.server->port());
    socket->send(kGet);
    auto exchange = s.held.take();
    ASSERT_TRUE(exchange);
    const auto stream = exchange->start_stream(event_stream());
    ASSERT_TRUE(stream);
    auto closed = closing(*exchange);  // set after the stream began
    exchange.reset();
    EXPECT_TRUE(stream->write("x"));
    socket->read_until("1\r\nx\r\n");
    const auto left_at = std::chrono::steady_clock::now();
    if (reset) socket->reset();
    socket.reset();
    EXPECT_TRUE(happens(closed));
    EXPECT_LT(std::chrono::steady_clock::now() - left_at, 2s);  // no write was needed
    EXPECT_TRUE(wait_until([&] { return !stream->write("y"); }));
    EXPECT_TRUE(stream->closed());
    stream->end();
    ASSERT_TRUE(s.logged(++num));
    EXPECT_TRUE(s.last_gone);
    EXPECT_FALSE(s.last_cut_off);
  }
}

TEST(Stream, NothingIsToldAfterTheEnd) {
  Streaming s;
  std::atomic<int> told{0};
  RawSocket socket(s.server->port());
  socket.send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  exchange->on_close([&] { ++told; });
  stream->end();
  exchange->on_close([&] { ++told; });
  socket.read_until("0\r\n\r\n");
  socket.close();
  s.server->drain(20s);
  EXPECT_EQ(told, 0);
}

TEST(Stream, DroppedWithoutEndHasNoLastChunk) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send(kGet + kGet);
  auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  auto stream = exchange->start_stream(event_stream());
  exchange.reset();
  stream->write("half");
  stream.reset();
  const std::string got = socket.read_to_end();
  EXPECT_TRUE(socket.closed());
  EXPECT_EQ(dechunked(got), "half<no last chunk>");
  EXPECT_EQ(count(got, "HTTP/1.1 200"), 1u);  // the second request is not answered
}

TEST(Stream, AClientThatDoesNotReadIsCutOffAndNobodyWaits) {
  ServerOptions options = test_options();
  options.max_stream_bytes = 64 * 1024;
  Streaming s(options);
  RawSocket idle(s.server->port());
  idle.send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  auto closed = closing(*exchange);
  const std::string piece(8 * 1024, 'p');
  size_t num_written = 0;
  while (stream->write(piece)) {
    ++num_written;
    // The system's buffers take some megabytes first; they fill faster than we are scheduled.
    if (stream->pending_bytes() > 32 * 1024) std::this_thread::sleep_for(1ms);
    ASSERT_LT(num_written * piece.size(), 1UL << 30);
    ASSERT_LE(stream->pending_bytes(), 64 * 1024 + 2 * piece.size());
  }
  EXPECT_TRUE(happens(closed));
  EXPECT_TRUE(exchange->cancelled());
  ASSERT_TRUE(s.logged(1));
  EXPECT_TRUE(s.last_cut_off);
  EXPECT_TRUE(s.last_gone);
  EXPECT_EQ(stream->pending_bytes(), 0u);
  // Somebody else is served as if nothing had been.
  Client client("127.0.0.1", s.server->port());
  EXPECT_EQ(client.get("/now").status, 200);
}

TEST(Stream, AClientThatStallsWithLittlePendingIsCutAtTheWriteTimeout) {
  ServerOptions options = test_options();
  options.write_timeout = 200ms;
  options.max_stream_bytes = 64 * 1024 * 1024;
  Streaming s(options);
  RawSocket idle(s.server->port());
  idle.send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  auto closed = closing(*exchange);
  stream->write(std::string(32 * 1024 * 1024, 'w'));
  EXPECT_TRUE(happens(closed));
  EXPECT_FALSE(stream->write("more"));
  ASSERT_TRUE(s.logged(1));
  EXPECT_FALSE(s.last_cut_off);
  EXPECT_TRUE(s.last_gone);
}

TEST(Stream, ASlowReaderGetsEverything) {
  ServerOptions options = test_options();
  options.max_stream_bytes = 64 * 1024 * 1024;
  Streaming s(options);
  RawSocket socket(s.server->port());
  socket.send(kGetClose);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  std::string all;
  for (int i = 0; i < 3000; ++i) {
    const std::string piece = std::string(4000, static_cast<char>('a' + i % 26)) + "\n";
    all += piece;
    ASSERT_TRUE(stream->write(piece));
    if (i % 512 == 0) std::this_thread::sleep_for(1ms);
  }
  stream->end();
  std::this_thread::sleep_for(50ms);
  EXPECT_TRUE(dechunked(socket.read_to_end()) == all);  // no printing of 12 MB
}

TEST(Stream, BytesOfAllStreamsTogetherAreBounded) {
  ServerOptions options = test_options();
  options.max_stream_bytes = 1 << 30;
  options.max_total_body_bytes = 16 * 1024 * 1024;
  Streaming s(options);
  RawSocket idle(s.server->port());
  idle.send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  auto closed = closing(*exchange);
  EXPECT_FALSE(stream->write(std::string(17 * 1024 * 1024, 'b')));
  EXPECT_TRUE(happens(closed));
  // What was held is given back: a request of that size is taken again.
  Client client("127.0.0.1", s.server->port());
  const std::string body(7 * 1024 * 1024, 'c');
  EXPECT_EQ(client.request("POST", "/now", {}, body).status, 200);
}

TEST(Stream, SendsKeepaliveBytesWhenIdle) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(
      event_stream(), {.keepalive_interval = 100ms, .keepalive = ": ping\n\n"});
  const std::string ping = "8\r\n: ping\n\n\r\n";
  std::string got;
  while (count(got, ping) < 2) got += socket.read_until(ping);
  stream->write("data");
  got += socket.read_until("data");
  stream->end();
  got += socket.read_until("0\r\n\r\n");
  std::string body = dechunked(got);
  EXPECT_TRUE(body.starts_with(": ping\n\n: ping\n\n"));
  EXPECT_TRUE(body.ends_with("data"));
}

TEST(Stream, DrainWaitsForOpenStreams) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send(kGet + kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  stream->write("before ");
  socket.read_until("before ");
  auto drained = std::async(std::launch::async, [&] { return s.server->drain(20s); });
  while (RawSocket(s.server->port()).connected()) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(drained.wait_for(50ms), std::future_status::timeout);
  EXPECT_TRUE(stream->write("after"));
  stream->end();
  EXPECT_TRUE(socket.read_to_end().ends_with("after\r\n0\r\n\r\n"));
  EXPECT_TRUE(drained.get());
}

TEST(Stream, StopCutsOpenStreams) {
  Streaming s;
  RawSocket socket(s.server->port());
  socket.send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  const auto stream = exchange->start_stream(event_stream());
  auto closed = closing(*exchange);
  EXPECT_FALSE(s.server->drain(50ms));
  EXPECT_TRUE(happens(closed));
  EXPECT_FALSE(stream->write("x"));
  s.server.reset(new Server(test_options(), echo));
  EXPECT_FALSE(stream->write("x"));  // also when the server is gone
  stream->end();
}

TEST(Stream, IsRefusedWhenTheClientHasGone) {
  Streaming s;
  auto socket = std::make_unique<RawSocket>(s.server->port());
  socket->send(kGet);
  const auto exchange = s.held.take();
  ASSERT_TRUE(exchange);
  auto closed = closing(*exchange);
  socket.reset();
  EXPECT_TRUE(happens(closed));
  EXPECT_FALSE(exchange->start_stream(event_stream()));
}

// One writer, many streams, clients that leave in the middle: what an engine's thread does.
TEST(Stream, ManyStreamsAtOnceEachGetTheirOwn) {
  constexpr size_t kStreams = 64;
  constexpr int kEvents = 200;
  Streaming s;
  std::vector<std::unique_ptr<RawSocket>> sockets;
  std::vector<std::shared_ptr<ResponseStream>> streams;
  std::vector<size_t> names;
  for (size_t i = 0; i < kStreams; ++i) {
    sockets.push_back(std::make_unique<RawSocket>(s.server->port()));
    sockets.back()->send("GET /" + std::to_string(i) +
                         " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  }
  for (size_t i = 0; i < kStreams; ++i) {
    const auto exchange = s.held.take();
    ASSERT_TRUE(exchange);
    names.push_back(std::stoul(exchange->request().path.substr(1)));
    streams.push_back(exchange->start_stream(event_stream()));
    ASSERT_TRUE(streams.back());
  }
  std::thread engine([&] {
    for (int event = 0; event < kEvents; ++event) {
      for (size_t i = 0; i < kStreams; ++i) {
        streams[i]->write(fmt::format("{}.{} ", names[i], event));
      }
    }
    for (size_t i = 0; i < kStreams; ++i) {
      if (names[i] % 3 == 1) streams[i].reset();
      if (streams[i]) streams[i]->end();
    }
  });
  for (size_t i = 0; i < kStreams; i += 3) sockets[i].reset();
  for (size_t i = 0; i < kStreams; ++i) {
    if (!sockets[i]) continue;
    std::string expected;
    for (int event = 0; event < kEvents; ++event) expected += fmt::format("{}.{} ", i, event);
    if (i % 3 == 1) expected += "<no last chunk>";
    EXPECT_EQ(dechunked(sockets[i]->read_to_end()), expected);
  }
  engine.join();
}

// Writers, leaving clients and a stopping server at once: nothing may crash, leak or hang.
TEST(Stream, SurvivesRacesWithLeavingAndStopping) {
  for (int round = 0; round < 12; ++round) {
    Held held;
    auto server = std::make_unique<Server>(test_options(), held.handler());
    server->start();
    std::vector<std::unique_ptr<RawSocket>> sockets;
    for (int i = 0; i < 12; ++i) {
      sockets.push_back(std::make_unique<RawSocket>(server->port()));
      sockets.back()->send(kGet + kGet);
    }
    std::vector<std::shared_ptr<Exchange>> exchanges;
    for (int i = 0; i < 12; ++i) exchanges.push_back(held.take());
    std::thread engine([&] {
      for (size_t i = 0; i < exchanges.size(); ++i) {
        const auto stream = exchanges[i]->start_stream(event_stream(), {.keepalive_interval = 1ms});
        exchanges[i]->on_close([] {});
        exchanges[i].reset();
        for (int n = 0; n < 50 && stream && stream->write("some bytes"); ++n) {
        }
        if (stream && i % 2) stream->end();
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
