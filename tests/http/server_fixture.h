// What the server's tests share: handlers, a way to hold requests back, and eyes for raw answers.
#pragma once

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/raw_socket.h"
#include "http/server.h"

namespace millrace::http {

using namespace std::chrono_literals;

inline ServerOptions test_options() {
  ServerOptions options;
  options.port = 0;
  return options;
}

inline void echo(const std::shared_ptr<Exchange>& exchange) {
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
inline std::future<void> closing(Exchange& exchange) {
  auto promise = std::make_shared<std::promise<void>>();
  auto future = promise->get_future();
  exchange.on_close([promise] { promise->set_value(); });
  return future;
}

inline bool happens(const std::future<void>& future) {
  return future.wait_for(20s) == std::future_status::ready;
}

inline size_t count(std::string_view text, std::string_view part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++n;
  return n;
}

// The statuses of a raw stream of responses, in order.
inline std::vector<int> statuses(std::string_view text) {
  std::vector<int> out;
  for (size_t at = 0; (at = text.find("HTTP/1.1 ", at)) != std::string_view::npos; at += 9) {
    out.push_back(std::stoi(std::string(text.substr(at + 9, 3))));
  }
  return out;
}

inline const std::string kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
inline const std::string kGetClose = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

}  // namespace millrace::http
