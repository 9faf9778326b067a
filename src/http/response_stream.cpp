// The handle of a streamed body: what it does to the buffer and to the exchange.
#include "http/response_stream.h"

#include <utility>

#include "http/exchange.h"
#include "http/stream_buffer.h"

namespace millrace::http {

ResponseStream::ResponseStream(std::shared_ptr<Exchange> exchange,
                               std::shared_ptr<StreamBuffer> buffer)
    : exchange_(std::move(exchange)), buffer_(std::move(buffer)) {}

ResponseStream::~ResponseStream() {
  buffer_->finish(StreamBuffer::State::kAbandoned);
  exchange_->stream_ended();
}

bool ResponseStream::write(std::string bytes) {
  return buffer_->append(std::move(bytes));
}

void ResponseStream::end() {
  buffer_->finish(StreamBuffer::State::kComplete);
  exchange_->stream_ended();
}

size_t ResponseStream::pending_bytes() const {
  return buffer_->pending_bytes();
}

bool ResponseStream::closed() const {
  return buffer_->state() != StreamBuffer::State::kOpen;
}

}  // namespace millrace::http
