// The server on real sockets: binding, answers from any thread, headers, hooks.
#include "http/server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "http/client.h"
#include "http/server_fixture.h"

namespace millrace::http {
namespace {

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

TEST(Server, RunsPostedWorkOnAWorker) {
  Held held;
  Server server(test_options(), held.handler());
  server.start();
  RawSocket socket(server.port());
  socket.send(kGet + kGetClose);
  server.post([exchange = held.take()] {
    ASSERT_TRUE(exchange);
    exchange->respond(text_response(202, ""));
  });
  auto lost = held.take();
  server.post([exchange = std::move(lost)] { throw std::runtime_error("broken"); });
  EXPECT_EQ(statuses(socket.read_to_end()), (std::vector<int>{202, 500}));
}

TEST(Server, EveryAnswerCarriesAnId) {
  Server server(test_options(), echo);
  server.start();
  Client client("127.0.0.1", server.port());
  const auto id_of = [&](const std::string& sent) {
    const Headers headers = sent.empty() ? Headers() : Headers{{"X-Request-Id", sent}};
    return std::string(
        client.request("GET", "/", headers).headers.find("x-request-id").value_or(""));
  };
  EXPECT_EQ(id_of("abc-123"), "abc-123");
  EXPECT_EQ(id_of(std::string(128, 'x')), std::string(128, 'x'));
  const std::string made = id_of("");
  EXPECT_EQ(made.size(), 16u);
  EXPECT_NE(id_of(""), made);
  EXPECT_EQ(id_of(std::string(129, 'x')).size(), 16u);  // too long to be an id
  EXPECT_EQ(id_of("two words").size(), 16u);
}

TEST(Server, AnswersForAHandlerThatThrowsOrForgets) {
  ServerOptions options = test_options();
  options.error_body = [](int status, std::string_view, const Request&) {
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
