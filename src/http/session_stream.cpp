// A streamed answer on its connection. Its bytes are sent by whichever worker is told of them, not
// by the session's coroutine: that one keeps a read pending all the while, to see the client leave.
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "http/session.h"

namespace millrace::http {

namespace {

constexpr size_t kMaxKeptBytes = 64 * 1024;  // of the memory for framed bytes

// One handler for all streams that were written to meanwhile: a step of an engine writes to
// hundreds, and should not have to wake a worker for each.
void flush_ready(Core& core) {
  std::vector<std::weak_ptr<Session>> ready;
  {
    std::lock_guard lock(core.ready_mutex);
    ready.swap(core.ready);
  }
  for (const auto& weak : ready) {
    if (const auto session = weak.lock()) session->post_flush();
  }
}

}  // namespace

std::shared_ptr<StreamBuffer> Session::open_stream(Response head, StreamOptions options) {
  const StreamLimits limits{.max_bytes = core_->options.max_stream_bytes,
                            .max_total = core_->options.max_total_body_bytes,
                            .total = core_->body_bytes};
  auto buffer = std::make_shared<StreamBuffer>(limits, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->signal_stream();
  });
  if (strand_.running_in_this_thread()) {
    start_stream(std::move(head), buffer, std::move(options));
    return buffer;
  }
  asio::post(strand_, [weak = weak_from_this(), buffer, moved_head = std::move(head),
                       moved_options = std::move(options)]() mutable {
    if (const auto self = weak.lock()) {
      self->start_stream(std::move(moved_head), buffer, std::move(moved_options));
    } else {
      buffer->close();
    }
  });
  return buffer;
}

void Session::start_stream(Response head, std::shared_ptr<StreamBuffer> buffer,
                           StreamOptions options) {
  if (over_) return buffer->close();
  answered_ = true;
  answer_ = std::move(head);
  stream_.emplace();
  stream_->buffer = std::move(buffer);
  stream_->options = std::move(options);
  stream_->waiting = true;  // until send_stream() has written the head
  interrupt();
}

void Session::signal_stream() {
  Core& core = *core_;
  bool first = false;
  {
    std::lock_guard lock(core.ready_mutex);
    first = core.ready.empty();
    core.ready.push_back(weak_from_this());
  }
  if (first) asio::post(core.io, [&core] { flush_ready(core); });
}

void Session::post_flush() {
  asio::post(strand_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->flush_stream();
  });
}

Task<bool> Session::send_stream(const Request& request, std::weak_ptr<Exchange> exchange,
                                bool keep_alive, AccessRecord& record) {
  Stream& stream = *stream_;
  const bool bodiless = request.method == "HEAD" || status_forbids_body(answer_->status);
  if (request.version < 11) {
    stream.framing = BodyFraming::kUntilClose;
    keep_alive = false;
  }
  stream.out = write_head(*answer_, request.version, keep_alive, stream.framing);
  stream.ended = stream.complete = bodiless;
  if (bodiless) {
    stream.buffer->close();
    if (const auto open = exchange.lock()) open->notify_closed();
  }
  stream.waiting = false;
  flush_stream();

  while (!stream.done && !peer_closed_ && !broken_ && !core_->stopping) {
    if (end_ - begin_ >= kMaxPipelinedBytes) {
      pause_.expires_at(Clock::time_point::max());
      co_await pause_.async_wait(kAwait);
    } else {
      co_await read_some();
    }
  }
  stream.buffer->close();
  clear_deadline();
  record.status = answer_->status;
  record.streamed = true;
  record.response_bytes = stream.num_bytes;
  record.client_gone = !stream.done;
  record.cut_off = stream.cut_off;
  if (!stream.done) {
    if (const auto open = exchange.lock()) open->notify_closed();
  }
  const bool whole = stream.done && stream.complete;
  co_return whole&& keep_alive && !core_->draining;
}

void Session::flush_stream() {
  if (!stream_ || stream_->done || broken_) return;
  if (stream_->buffer->state() == StreamBuffer::State::kCutOff) {
    stream_->cut_off = true;
    return break_stream();
  }
  if (stream_->waiting) return;
  if (!stream_->ended) fill_stream();
  send_stream_bytes();
}

// Requires: nothing of an earlier call is left to send, except the head.
void Session::fill_stream() {
  Stream& stream = *stream_;
  const StreamBuffer::Taken taken = stream.buffer->take();
  append_to_stream(taken.bytes);
  if (taken.state == StreamBuffer::State::kOpen) return;
  stream.ended = true;
  stream.complete = taken.state == StreamBuffer::State::kComplete;
  if (stream.complete && stream.framing == BodyFraming::kChunked) stream.out += "0\r\n\r\n";
}

void Session::append_to_stream(std::string_view bytes) {
  std::string& out = stream_->out;
  if (bytes.empty()) return;  // a chunk without bytes would be the last one
  const bool chunked = stream_->framing == BodyFraming::kChunked;
  if (chunked) fmt::format_to(std::back_inserter(out), "{:x}\r\n", bytes.size());
  out += bytes;
  if (chunked) out += "\r\n";
}

bool Session::send_stream_bytes() {
  Stream& stream = *stream_;
  while (stream.sent < stream.out.size()) {
    boost::system::error_code ec;
    const size_t count = socket_.send(
        asio::buffer(stream.out.data() + stream.sent, stream.out.size() - stream.sent), 0, ec);
    if (ec == asio::error::interrupted) continue;
    if (ec == asio::error::would_block || ec == asio::error::try_again) {
      wait_until_writable();
      return false;
    }
    if (ec) {
      break_stream();
      return false;
    }
    stream.sent += count;
    stream.num_bytes += count;
    stream.stalled = false;
    stream.buffer->sent(count);
  }
  stream.sent = 0;
  if (stream.out.capacity() > kMaxKeptBytes) {
    stream.out = {};
  } else {
    stream.out.clear();
  }
  if (stream.ended) {
    stream.done = true;
    clear_deadline();
    interrupt();
  } else if (stream.options.keepalive_interval.count() > 0) {
    set_deadline(stream.options.keepalive_interval);
  } else {
    clear_deadline();
  }
  return true;
}

void Session::wait_until_writable() {
  Stream& stream = *stream_;
  stream.waiting = true;
  if (!stream.stalled) set_deadline(core_->options.write_timeout);
  stream.stalled = true;
  // A wake-up that was meant for somebody else aborts this wait as well: then it begins again.
  socket_.async_wait(asio::socket_base::wait_write,
                     asio::bind_executor(strand_, [self = shared_from_this()](const auto&) {
                       if (!self->stream_ || self->broken_ || self->over_) return;
                       self->stream_->waiting = false;
                       if (self->send_stream_bytes()) self->flush_stream();
                     }));
}

void Session::stream_deadline() {
  Stream& stream = *stream_;
  if (stream.waiting) return break_stream();  // it has not read for write_timeout
  append_to_stream(stream.options.keepalive);
  send_stream_bytes();
}

// Closes with a reset: the system must not go on offering bytes to a client that does not read.
void Session::break_stream() {
  boost::system::error_code ec;
  socket_.set_option(asio::socket_base::linger(true, 0), ec);
  broken_ = true;
  interrupt();
}

}  // namespace millrace::http
