// One request and the one answer to it, which may come later, from any thread, and piece by piece.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "http/message.h"
#include "http/response_stream.h"

namespace millrace::http {

// Given to a handler as a shared_ptr: answer at once, or keep the pointer and answer when the work
// is done. An exchange that is destroyed unanswered is answered with 500.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  // Carries the answer away: nothing when the exchange was destroyed without one. Either this or
  // `OpenStream` is called, once, on the thread that answers or destroys; must not throw.
  using Send = std::function<void(std::optional<Response>)>;
  // Carries the head of a streamed answer away and returns what its body is written to; null where
  // nobody is there to read it.
  using OpenStream =
      std::function<std::shared_ptr<StreamBuffer>(Response head, StreamOptions options)>;

  Exchange(Request request, Send send, OpenStream open_stream = {})
      : request_(std::make_shared<Request>(std::move(request))),
        send_(std::move(send)),
        open_stream_(std::move(open_stream)) {}
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

  // Any thread. The other way to answer: status and headers of `head` go out now, the body as it is
  // written to the stream (in chunks; to a client of HTTP/1.0 until the connection closes). Null
  // when the exchange was answered already or the client has gone. Nobody reads the body of an
  // answer to HEAD: its stream is closed from the start, and on_close tells so.
  std::shared_ptr<ResponseStream> start_stream(Response head, StreamOptions options = {});

  // Any thread. True once the client has closed its side or the server was stopped: the work may
  // be dropped. A client that only half-closes counts as gone as well (most clients never do), but
  // what is answered anyway is still sent to it.
  bool cancelled() const;

  // Runs `callback` when the client goes (or is cut off) before the whole answer, on an HTTP worker
  // thread; at once and here when it has gone already; never after respond(), or a stream's end().
  // One callback: a second replaces it. It must be quick and must not throw.
  void on_close(std::function<void()> callback);

  void notify_closed();  // for the server: the client has gone
  void stream_ended();   // for the stream: on_close has nothing to tell any more

 private:
  std::shared_ptr<Request> request_;
  Send send_;
  OpenStream open_stream_;
  mutable std::mutex mutex_;
  bool answered_ = false;
  bool streaming_ = false;  // answered with a stream that has not ended
  bool closed_ = false;
  std::function<void()> on_close_;
};

// Runs on an HTTP worker thread; what it throws is answered with 500 and logged.
using Handler = std::function<void(std::shared_ptr<Exchange>)>;

}  // namespace millrace::http
