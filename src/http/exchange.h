// One request and the one answer to it, which may come later and from any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "http/message.h"

namespace millrace::http {

// Given to a handler as a shared_ptr: answer at once, or keep the pointer and answer when the work
// is done. An exchange that is destroyed unanswered is answered with 500. A streamed answer
// (server-sent events) will be one more way to respond, beside respond().
class Exchange {
 public:
  // Carries the answer away: nothing when the exchange was destroyed without one. Called exactly
  // once, on the thread that answers or destroys; must not throw.
  using Send = std::function<void(std::optional<Response>)>;

  Exchange(Request request, Send send)
      : request_(std::make_shared<Request>(std::move(request))), send_(std::move(send)) {}
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const Request& request() const { return *request_; }
  std::shared_ptr<const Request> shared_request() const { return request_; }  // outlives this
  // The two ways to change the request, both before it is answered and by one thread at a time.
  std::string take_body() { return std::move(request_->body); }
  void set_route(std::string route) { request_->route = std::move(route); }

  // Any thread. The first answer counts and is sent; later ones are dropped and return false.
  bool respond(Response response);
  bool answered() const;

  // Any thread. True once the client has closed its side or the server was stopped: the work may
  // be dropped. A client that only half-closes counts as gone as well (most clients never do), but
  // what is answered anyway is still sent to it.
  bool cancelled() const;

  // Runs `callback` when the client goes before the answer, on an HTTP worker thread; at once and
  // here when it has gone already; never after the answer. One callback: a second replaces it.
  // It must be quick and must not throw.
  void on_close(std::function<void()> callback);

  void notify_closed();  // for the server: the client has gone

 private:
  std::shared_ptr<Request> request_;
  Send send_;
  mutable std::mutex mutex_;
  bool answered_ = false;
  bool closed_ = false;
  std::function<void()> on_close_;
};

// Runs on an HTTP worker thread; what it throws is answered with 500 and logged.
using Handler = std::function<void(std::shared_ptr<Exchange>)>;

}  // namespace millrace::http
