// A queue of bytes with two ends, two limits and one wake-up per batch.
#include "http/stream_buffer.h"

#include <algorithm>
#include <utility>

namespace millrace::http {

StreamBuffer::StreamBuffer(StreamLimits limits, std::function<void()> wake)
    : limits_(std::move(limits)), wake_(std::move(wake)) {}

void StreamBuffer::release(size_t count) {
  limits_.total->fetch_sub(count, std::memory_order_relaxed);
}

bool StreamBuffer::append(std::string bytes) {
  bool wake = false;
  bool taken = true;
  {
    std::lock_guard lock(mutex_);
    if (state_ != State::kOpen) return false;
    if (bytes.empty()) return true;
    const size_t count = bytes.size();
    const size_t total = limits_.total->fetch_add(count, std::memory_order_relaxed) + count;
    // What lies here already counts, not what comes: one long write is not the client's fault.
    if (queue_.size() + in_flight_ > limits_.max_bytes || total > limits_.max_total) {
      release(count + queue_.size());
      queue_ = {};
      state_ = State::kCutOff;
      wake = true;
      taken = false;
    } else {
      if (queue_.empty()) {
        queue_ = std::move(bytes);
      } else {
        queue_ += bytes;
      }
      wake = !std::exchange(signalled_, true);
    }
  }
  if (wake) wake_();
  return taken;
}

void StreamBuffer::finish(State state) {
  {
    std::lock_guard lock(mutex_);
    if (state_ != State::kOpen) return;
    state_ = state;
    if (std::exchange(signalled_, true)) return;
  }
  wake_();
}

StreamBuffer::Taken StreamBuffer::take() {
  std::lock_guard lock(mutex_);
  signalled_ = false;
  in_flight_ += queue_.size();
  return {.bytes = std::exchange(queue_, {}), .state = state_};
}

void StreamBuffer::sent(size_t count) {
  std::lock_guard lock(mutex_);
  count = std::min(count, in_flight_);
  in_flight_ -= count;
  release(count);
}

void StreamBuffer::close() {
  std::lock_guard lock(mutex_);
  release(queue_.size() + in_flight_);
  queue_ = {};
  in_flight_ = 0;
  state_ = State::kClosed;
}

StreamBuffer::State StreamBuffer::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

size_t StreamBuffer::pending_bytes() const {
  std::lock_guard lock(mutex_);
  return queue_.size() + in_flight_;
}

}  // namespace millrace::http
