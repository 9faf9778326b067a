// An HTTP/1.1 client of thousands of connections to one server, all on one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace millrace::http {

// What became of a call.
enum class CallOutcome {
  kAnswered,  // a whole response, any status
  kAborted,   // we closed the connection: `abort_after`, abort(), or on_body declined
  kTimedOut,  // not connected, or not answered, in time
  kRefused,   // nobody listens
  kBroken,    // closed or reset before the whole response
  kGarbled,   // the answer is not HTTP, or larger than allowed
};

std::string_view to_string(CallOutcome outcome);  // "answered", "timed out", ...

struct CallResult {
  CallOutcome outcome = CallOutcome::kAnswered;
  Response response;   // of an answered call
  std::string detail;  // why there is none
};

struct AsyncClientOptions {
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{60'000};     // of a call as a whole
  size_t max_body_bytes = 1024UL * 1024 * 1024;  // of a response
};

// All members and all callbacks belong to one thread: the one that is in run(). A call takes an
// idle connection or opens one, so there are as many connections as there were calls at a time.
class AsyncClient {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using OnDone = std::function<void(CallResult)>;

  // Resolves the name at once. Throws Error{kUnavailable} when it has no address.
  AsyncClient(const std::string& host, uint16_t port, AsyncClientOptions options = {});
  ~AsyncClient();
  AsyncClient(const AsyncClient&) = delete;
  AsyncClient& operator=(const AsyncClient&) = delete;

  using CallId = uint64_t;

  // Sends `request` (method, target, headers, body) and calls `on_done` once, after the last of the
  // `hooks`. `abort_after` counts from now: if the whole answer is not there by then, the
  // connection is closed. A kept connection that the server closed just as it was used is replaced,
  // once, without anybody noticing.
  CallId send(Request request, OnDone on_done,
              std::optional<std::chrono::nanoseconds> abort_after = {}, BodyHooks hooks = {});

  void abort(CallId call);  // closes its connection; nothing when it is done already

  void at(Time when, std::function<void()> callback);

  // Runs until nothing is left to wait for, or stop(). What a callback throws leaves through run().
  void run();
  void stop();  // run() returns soon; calls in flight are dropped with the client

  size_t num_connections() const;  // open now, idle ones included
  uint64_t num_connects() const;   // connections opened so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::http
