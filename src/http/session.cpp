// The life of a connection as one coroutine on one strand.
// gcc 12 destroys aggregates that are made inside a co_await expression twice: they are named
// first.
#include "http/session.h"

#include <algorithm>
#include <array>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "http/response_head.h"

namespace millrace::http {

namespace {

constexpr size_t kBufferBytes = 16 * 1024;  // of an idle connection
constexpr auto kLinger = std::chrono::seconds(2);
constexpr Clock::rep kNever = std::numeric_limits<Clock::rep>::max();

std::string to_text(const asio::ip::tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                    : fmt::format("{}:{}", address, endpoint.port());
}

ParserLimits parser_limits(const ServerOptions& options) {
  return {.max_header_bytes = options.max_header_bytes,
          .max_headers = options.max_headers,
          .max_body_bytes = options.max_body_bytes};
}

}  // namespace

Response error_response(const Core& core, int status, std::string_view message,
                        const Request& request) {
  if (core.options.error_body) return core.options.error_body(status, message, request);
  return text_response(status, std::string(message) + "\n");
}

Session::Session(std::shared_ptr<Core> core, Socket socket)
    : core_(std::move(core)),
      strand_(socket.get_executor()),
      socket_(std::move(socket)),
      pause_(strand_),
      parser_(parser_limits(core_->options)),
      buffer_(kBufferBytes),
      deadline_(kNever) {
  boost::system::error_code ec;
  const auto endpoint = socket_.remote_endpoint(ec);
  if (!ec) remote_ = to_text(endpoint);
  socket_.set_option(asio::ip::tcp::no_delay(true), ec);
  socket_.non_blocking(true, ec);  // for the writes of streams
}

void Session::start(bool refused) {
  {
    std::lock_guard lock(core_->mutex);
    core_->sessions.insert(shared_from_this());
  }
  asio::co_spawn(
      strand_, [this, refused] { return run(refused); },
      [self = shared_from_this()](std::exception_ptr failure) {
        if (failure) {
          try {
            std::rethrow_exception(failure);
          } catch (const std::exception& e) {
            log::error("http: connection of {} ended: {}", self->remote_, e.what());
          }
        }
        boost::system::error_code ec;
        self->socket_.close(ec);
        self->over_ = true;
        std::lock_guard lock(self->core_->mutex);
        self->core_->sessions.erase(self);
        if (self->core_->sessions.empty()) self->core_->empty.notify_all();
      });
}

void Session::set_deadline(Clock::duration from_now) {
  timed_out_ = false;
  deadline_.store((Clock::now() + from_now).time_since_epoch().count(), std::memory_order_relaxed);
}

void Session::clear_deadline() {
  timed_out_ = false;
  deadline_.store(kNever, std::memory_order_relaxed);
}

void Session::expire_if_due(Clock::time_point now) {
  if (deadline_.load(std::memory_order_relaxed) > now.time_since_epoch().count()) return;
  asio::post(strand_, [weak = weak_from_this(), now] {
    const auto self = weak.lock();
    if (!self || self->deadline_.load(std::memory_order_relaxed) > now.time_since_epoch().count())
      return;
    if (self->stream_) return self->stream_deadline();
    self->timed_out_ = true;
    self->interrupt();
  });
}

void Session::wake() {
  asio::post(strand_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->interrupt();
  });
}

void Session::interrupt() {
  boost::system::error_code ec;
  socket_.cancel(ec);
  pause_.cancel();
}

bool Session::must_close() const {
  return core_->stopping || (core_->draining && !parser_.started() && begin_ == end_);
}

void Session::make_room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ > 0 && end_ == buffer_.size()) {
    std::copy(buffer_.begin() + static_cast<ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<ptrdiff_t>(end_), buffer_.begin());
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
}

Task<void> Session::read_some() {
  make_room();
  const auto [ec, count] = co_await socket_.async_read_some(
      asio::buffer(buffer_.data() + end_, buffer_.size() - end_), kAwait);
  end_ += count;
  if (ec == asio::error::eof) {
    peer_closed_ = true;
  } else if (ec && ec != asio::error::operation_aborted) {
    broken_ = true;
  }
}

void Session::refuse_to_read(int status, std::string_view message) {
  refuse_to_read(error_response(*core_, status, message, parser_.request()));
}

void Session::refuse_to_read(Response response) {
  refused_ = parser_.take_head();
  refused_.remote = remote_;
  refused_.id = core_->ids.choose(refused_.headers.find("x-request-id").value_or(""));
  refusal_ = std::move(response);
  refusal_->headers.set("x-request-id", refused_.id);
}

bool Session::hold_body_bytes(size_t count) {
  const size_t others = core_->body_bytes->fetch_add(count - held_body_bytes_) - held_body_bytes_;
  held_body_bytes_ = count;
  return others + count <= core_->options.max_total_body_bytes;
}

Task<Session::Next> Session::read_request() {
  const ServerOptions& options = core_->options;
  bool in_header = false;
  bool in_body = false;
  bool sent_continue = false;
  Clock::time_point receive_by{};  // set with the first byte
  set_deadline(num_requests_ == 0 ? std::min(options.header_timeout, options.idle_timeout)
                                  : options.idle_timeout);
  while (true) {
    if (begin_ < end_) {
      if (!in_header && !in_body) receive_by = Clock::now() + options.receive_timeout;
      begin_ += parser_.feed({buffer_.data() + begin_, end_ - begin_});
      if (parser_.failed()) {
        refuse_to_read(parser_.failure().status, parser_.failure().message);
        co_return Next::kRefuse;
      }
      if (parser_.header_done() && !in_body) {
        in_body = true;
        if (options.admit) {
          if (auto response = options.admit(parser_.request())) {
            refuse_to_read(std::move(*response));
            co_return Next::kRefuse;
          }
        }
      }
      if (!hold_body_bytes(parser_.body_bytes())) {
        refuse_to_read(503, fmt::format("the requests in work hold {} bytes together, which is the "
                                        "limit; try again",
                                        options.max_total_body_bytes));
        refusal_->headers.set("retry-after", "1");
        co_return Next::kRefuse;
      }
      if (parser_.done()) co_return Next::kRequest;
    }
    if (must_close() || broken_) co_return Next::kClose;
    if (peer_closed_ || timed_out_) {
      if (!parser_.started()) co_return Next::kClose;
      if (timed_out_) {
        refuse_to_read(408, "the request took too long to arrive");
      } else {
        refuse_to_read(400, "the connection was closed in the middle of a request");
      }
      co_return Next::kRefuse;
    }
    if (parser_.header_done()) {
      if (parser_.expects_continue() && !sent_continue && begin_ == end_) {
        sent_continue = true;
        if (!co_await write("HTTP/1.1 100 Continue\r\n\r\n", {})) co_return Next::kClose;
      }
      // The last byte has its own deadline: a body that drips must not hold a connection for ever.
      set_deadline(std::min<Clock::duration>(options.body_timeout, receive_by - Clock::now()));
    } else if (parser_.started() && !in_header) {
      in_header = true;  // one deadline for the whole head, however slowly it drips
      set_deadline(options.header_timeout);
    }
    co_await read_some();
  }
}

void Session::take_answer(std::optional<Response> response) {
  if (strand_.running_in_this_thread()) {
    answered_ = true;
    answer_ = std::move(response);
    interrupt();
    return;
  }
  asio::post(strand_, [weak = weak_from_this(), moved = std::move(response)]() mutable {
    const auto self = weak.lock();
    if (!self) return;
    self->answered_ = true;
    self->answer_ = std::move(moved);
    self->interrupt();
  });
}

// Keeps a read pending while the handler's work goes on: it is what tells that the client left.
Task<void> Session::wait_for_answer(std::weak_ptr<Exchange> exchange) {
  bool told = false;
  while (!answered_ && !core_->stopping && !broken_) {
    if (peer_closed_ && !told) {
      told = true;
      if (const auto open = exchange.lock()) open->notify_closed();
      continue;  // the callback may have dropped the exchange, which answers it
    }
    if (peer_closed_ || end_ - begin_ >= kMaxPipelinedBytes) {
      pause_.expires_at(Clock::time_point::max());
      co_await pause_.async_wait(kAwait);
    } else {
      co_await read_some();
    }
  }
  if (answered_ || told) co_return;
  if (const auto open = exchange.lock()) open->notify_closed();
}

Task<bool> Session::serve() {
  ++num_requests_;
  const bool client_goes_on = parser_.keep_alive();
  clear_deadline();
  answered_ = false;
  answer_.reset();
  stream_.reset();

  Request parsed = parser_.take();
  parsed.remote = remote_;
  parsed.received_at = Clock::now();
  parsed.id = core_->ids.choose(parsed.headers.find("x-request-id").value_or(""));
  const size_t request_bytes = parsed.body.size();
  std::shared_ptr<const Request> request;
  std::weak_ptr<Exchange> waiting;
  {
    auto exchange = std::make_shared<Exchange>(
        std::move(parsed),
        [weak = weak_from_this()](std::optional<Response> response) {
          if (const auto self = weak.lock()) self->take_answer(std::move(response));
        },
        [weak = weak_from_this()](Response head, StreamOptions stream_options) {
          const auto self = weak.lock();
          return self ? self->open_stream(std::move(head), std::move(stream_options)) : nullptr;
        });
    request = exchange->shared_request();
    waiting = exchange;
    try {
      core_->handler(std::move(exchange));
    } catch (const std::exception& e) {
      log::error("http: the handler of {} {} failed: {}", request->method, request->path, e.what());
      if (const auto open = waiting.lock()) {
        open->respond(error_response(*core_, 500, "internal error", *request));
      }
    }
  }
  if (!answered_) co_await wait_for_answer(waiting);

  const bool gone = peer_closed_ || broken_ || !answered_;
  if (answered_ && !answer_ && !gone) {
    answer_ = error_response(*core_, 500, "the request was dropped without an answer", *request);
  }
  AccessRecord record{.request = *request, .status = 499, .request_bytes = request_bytes};
  record.client_gone = gone;
  bool keep_alive = false;
  if (answered_ && answer_ && (stream_ || !broken_)) {
    answer_->headers.set("x-request-id", request->id);
    keep_alive = client_goes_on && !gone && !core_->draining && !core_->stopping;
    record.response_headers = &answer_->headers;
    if (stream_) {
      keep_alive = co_await send_stream(*request, waiting, keep_alive, record);
    } else {
      keep_alive = co_await send_answer(*request, keep_alive, record);
    }
  }
  hold_body_bytes(0);
  record.duration = Clock::now() - request->received_at;
  if (core_->options.on_access) core_->options.on_access(record);
  answer_.reset();
  stream_.reset();
  co_return keep_alive;
}

Task<bool> Session::send_answer(const Request& request, bool keep_alive, AccessRecord& record) {
  if (!hold_body_bytes(record.request_bytes + answer_->body.size())) {
    answer_ = error_response(*core_, 503, "the answers in work need more memory than is allowed",
                             request);
    answer_->headers.set("retry-after", "1");
    answer_->headers.set("x-request-id", request.id);
  }
  const std::string head = write_head(*answer_, request.version, keep_alive);
  const bool bodiless = request.method == "HEAD" || status_forbids_body(answer_->status);
  const std::string_view body = bodiless ? std::string_view() : answer_->body;
  record.status = answer_->status;
  record.response_bytes = head.size() + body.size();
  if (co_await write(head, body)) co_return keep_alive;
  record.client_gone = true;
  co_return false;
}

Task<bool> Session::write(std::string_view head, std::string_view body) {
  while (!head.empty() || !body.empty()) {
    if (core_->stopping) co_return false;
    set_deadline(core_->options.write_timeout);
    const std::array<asio::const_buffer, 2> buffers{asio::buffer(head.data(), head.size()),
                                                    asio::buffer(body.data(), body.size())};
    const auto [ec, count] = co_await socket_.async_write_some(buffers, kAwait);
    const size_t from_head = std::min(count, head.size());
    head.remove_prefix(from_head);
    body.remove_prefix(count - from_head);
    // A wake that finds nothing to stop also aborts the wait: only a real reason ends the write.
    if (ec && (ec != asio::error::operation_aborted || timed_out_)) {
      broken_ = true;
      co_return false;
    }
  }
  co_return true;
}

Task<void> Session::refuse() {
  hold_body_bytes(0);
  const auto begun = Clock::now();
  const Response& response = *refusal_;
  AccessRecord record{
      .request = refused_, .status = response.status, .response_headers = &response.headers};
  const std::string head = write_head(response, 11, false);
  record.response_bytes = head.size() + response.body.size();
  record.client_gone = !co_await write(head, response.body);
  record.duration = Clock::now() - begun;
  if (core_->options.on_access) core_->options.on_access(record);
  if (!record.client_gone) co_await linger();
}

// Closing a socket with unread bytes resets the connection, and the reset can overtake our answer.
// So say that we are done, and swallow for a moment what the client is still sending.
Task<void> Session::linger() {
  boost::system::error_code ec;
  socket_.shutdown(asio::socket_base::shutdown_send, ec);
  set_deadline(kLinger);
  while (!ec && !peer_closed_ && !broken_ && !timed_out_ && !core_->stopping) {
    begin_ = end_ = 0;
    co_await read_some();
  }
}

Task<void> Session::run(bool refused) {
  if (refused) {
    refuse_to_read(503, "too many connections");
    co_await refuse();
    co_return;
  }
  do {
    if (begin_ == end_ && buffer_.size() > kBufferBytes) {  // after a large request
      buffer_ = std::vector<char>(kBufferBytes);
      begin_ = end_ = 0;
    }
    parser_.reset();
    const Next next = co_await read_request();
    if (next == Next::kClose) co_return;
    if (next == Next::kRefuse) {
      co_await refuse();
      co_return;
    }
  } while (co_await serve());
}

}  // namespace millrace::http
