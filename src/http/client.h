// A small blocking HTTP/1.1 client for tests, demos and benchmarks; one connection, kept alive.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/message.h"

namespace millrace::http {

struct ClientOptions {
  std::chrono::milliseconds timeout{60'000};     // connecting, or one request as a whole
  size_t max_body_bytes = 1024UL * 1024 * 1024;  // of a response
};

// One thread at a time. Connects at the first request, and again when the server has closed the
// idle connection.
class Client {
 public:
  Client(std::string host, uint16_t port, ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Any status is a normal result. Throws Error{kUnavailable} when nobody listens, {kIo} when the
  // connection breaks, {kCancelled} at the timeout and where a hook declines the rest, {kCorrupt}
  // when the answer is not HTTP.
  Response request(std::string_view method, std::string_view target, const Headers& headers = {},
                   std::string_view body = {}, const BodyHooks& hooks = {});
  Response get(std::string_view target) { return request("GET", target); }
  Response post_json(std::string_view target, std::string_view body) {
    return request("POST", target, {{"content-type", "application/json"}}, body);
  }

  void close();

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

}  // namespace millrace::http
