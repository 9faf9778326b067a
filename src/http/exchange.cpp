// The small state machine between a handler, its answer and a client that may leave.
#include "http/exchange.h"

#include <utility>

namespace millrace::http {

Exchange::~Exchange() {
  if (!answered_) send_(std::nullopt);
}

bool Exchange::respond(Response response) {
  std::function<void()> dropped;  // destroyed outside the lock: it may own what owns this exchange
  {
    std::lock_guard lock(mutex_);
    if (answered_) return false;
    answered_ = true;
    dropped = std::move(on_close_);
  }
  send_(std::move(response));
  return true;
}

std::shared_ptr<ResponseStream> Exchange::start_stream(Response head, StreamOptions options) {
  {
    std::lock_guard lock(mutex_);
    if (answered_ || closed_ || !open_stream_) return nullptr;
    answered_ = true;
    streaming_ = true;
  }
  auto buffer = open_stream_(std::move(head), std::move(options));
  if (!buffer) {
    notify_closed();
    stream_ended();
    return nullptr;
  }
  return std::make_shared<ResponseStream>(shared_from_this(), std::move(buffer));
}

void Exchange::stream_ended() {
  std::function<void()> dropped;
  std::lock_guard lock(mutex_);
  streaming_ = false;
  dropped.swap(on_close_);
}

bool Exchange::answered() const {
  std::lock_guard lock(mutex_);
  return answered_;
}

bool Exchange::cancelled() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

void Exchange::on_close(std::function<void()> callback) {
  std::function<void()> replaced;
  {
    std::lock_guard lock(mutex_);
    if (answered_ && !streaming_) return;
    if (!closed_) {
      replaced = std::exchange(on_close_, std::move(callback));
      return;
    }
  }
  callback();
}

void Exchange::notify_closed() {
  std::function<void()> callback;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    callback = std::move(on_close_);
  }
  if (callback) callback();
}

}  // namespace millrace::http
