// One coroutine per call over Beast streams; one deadline covers connecting, writing and reading.
#include "http/async_client.h"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "http/piece_body.h"
#include "http/request_head.h"

namespace millrace::http {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using Executor = asio::io_context::executor_type;
using Stream = beast::basic_stream<asio::ip::tcp, Executor>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;
template <typename T>
using Task = asio::awaitable<T, Executor>;
constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> kAwait{
    asio::use_awaitable_t<Executor>{}};

struct Connection {
  explicit Connection(asio::io_context& io) : stream(io.get_executor()) {}

  Stream stream;
  beast::flat_buffer buffer;
  bool used = false;  // it has carried an answer
};

CallOutcome outcome_of(const error_code& ec) {
  if (ec == beast::error::timeout) return CallOutcome::kTimedOut;
  if (ec == asio::error::connection_refused) return CallOutcome::kRefused;
  const auto& http = beast::http::make_error_code(beast::http::error::bad_value).category();
  if (ec.category() == http && ec != beast::http::error::end_of_stream &&
      ec != beast::http::error::partial_message) {
    return CallOutcome::kGarbled;
  }
  return CallOutcome::kBroken;
}

}  // namespace

std::string_view to_string(CallOutcome outcome) {
  switch (outcome) {
    case CallOutcome::kAnswered: return "answered";
    case CallOutcome::kAborted: return "aborted";
    case CallOutcome::kTimedOut: return "timed out";
    case CallOutcome::kRefused: return "refused";
    case CallOutcome::kBroken: return "broken";
    case CallOutcome::kGarbled: return "garbled";
  }
  return "";
}

struct AsyncClient::Impl {
  struct Call {
    std::string head;
    std::string body;
    bool head_only = false;  // HEAD: the answer has no body
    Time deadline;
    std::optional<Time> abort_at;
    BodyHooks hooks;
    Connection* connection = nullptr;  // that it is on
    bool aborted = false;
  };

  std::string host;
  uint16_t port = 0;
  AsyncClientOptions options;
  asio::io_context io{1};
  std::vector<asio::ip::tcp::endpoint> endpoints;
  std::vector<std::unique_ptr<Connection>> idle;            // the last used is the first taken
  std::unordered_map<CallId, std::shared_ptr<Call>> calls;  // in flight
  CallId next_id = 1;
  size_t num_open = 0;
  uint64_t num_connects = 0;

  Time limit(const Call& call) const {
    return call.abort_at ? std::min(call.deadline, *call.abort_at) : call.deadline;
  }

  CallResult failed(const Call& call, const error_code& ec, std::string_view step) const {
    CallOutcome outcome = outcome_of(ec);
    if (call.aborted ||
        (outcome == CallOutcome::kTimedOut && call.abort_at && Clock::now() >= *call.abort_at)) {
      outcome = CallOutcome::kAborted;
    }
    return {.outcome = outcome, .detail = fmt::format("{}: {}", step, ec.message())};
  }

  Task<CallResult> perform(std::unique_ptr<Connection> connection, std::shared_ptr<Call> call);
  Task<std::optional<CallResult>> try_on(Connection& connection, Call& call, bool& stale,
                                         bool& keep_alive, CallResult& answer);
  Task<error_code> connect(Connection& connection, const Call& call);
};

Task<error_code> AsyncClient::Impl::connect(Connection& connection, const Call& call) {
  connection.stream.expires_at(std::min(limit(call), Clock::now() + options.connect_timeout));
  ++num_connects;
  const auto [ec, endpoint] = co_await connection.stream.async_connect(endpoints, kAwait);
  error_code ignored;
  if (!ec) connection.stream.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  co_return ec;
}

// Writes and reads on an open connection. Returns the failure, or nothing with `answer` filled.
// `stale`: a kept connection was closed under us before anything of an answer came.
Task<std::optional<CallResult>> AsyncClient::Impl::try_on(Connection& connection, Call& call,
                                                          bool& stale, bool& keep_alive,
                                                          CallResult& answer) {
  connection.stream.expires_at(limit(call));
  const std::array<asio::const_buffer, 2> buffers{asio::buffer(call.head), asio::buffer(call.body)};
  const auto [write_error, written] =
      co_await asio::async_write(connection.stream, buffers, kAwait);

  // Even when the write broke off: the server may have answered before it read everything.
  beast::http::response_parser<PieceBody> parser;
  parser.get().body().hooks = &call.hooks;
  parser.body_limit(options.max_body_bytes);
  parser.skip(call.head_only);
  const auto [ec, count] =
      co_await beast::http::async_read(connection.stream, connection.buffer, parser, kAwait);
  if (ec) {
    call.aborted = call.aborted || parser.get().body().declined;
    stale = !call.aborted && connection.used && !parser.got_some() && ec != beast::error::timeout;
    co_return failed(call, write_error ? write_error : ec, "request");
  }
  answer.response = head_of(parser.get());
  if (call.hooks.on_head && !parser.get().body().told_head) call.hooks.on_head(answer.response);
  keep_alive = parser.keep_alive();
  answer.response.body = std::move(parser.get().body().collected);
  connection.used = true;
  co_return std::nullopt;
}

Task<CallResult> AsyncClient::Impl::perform(std::unique_ptr<Connection> connection,
                                            std::shared_ptr<Call> call) {
  CallResult answer;
  bool keep_alive = false;
  while (true) {
    if (call->aborted) {
      num_open -= connection ? 1 : 0;
      co_return failed(*call, asio::error::operation_aborted, "request");
    }
    if (!connection) {
      connection = std::make_unique<Connection>(io);
      call->connection = connection.get();
      ++num_open;
      if (const error_code ec = co_await connect(*connection, *call)) {
        call->connection = nullptr;
        --num_open;
        co_return failed(*call, ec, "connect");
      }
    }
    call->connection = connection.get();
    bool stale = false;
    auto failure = co_await try_on(*connection, *call, stale, keep_alive, answer);
    call->connection = nullptr;
    if (!failure) break;
    connection.reset();
    --num_open;
    if (!stale) co_return std::move(*failure);
  }
  if (keep_alive) {
    idle.push_back(std::move(connection));
  } else {
    --num_open;
  }
  co_return answer;
}

AsyncClient::AsyncClient(const std::string& host, uint16_t port, AsyncClientOptions options)
    : impl_(std::make_unique<Impl>()) {
  impl_->host = host;
  impl_->port = port;
  impl_->options = options;
  asio::ip::tcp::resolver resolver(impl_->io);
  error_code ec;
  for (const auto& found : resolver.resolve(host, std::to_string(port), ec)) {
    impl_->endpoints.push_back(found.endpoint());
  }
  if (ec || impl_->endpoints.empty()) {
    throw Error(ErrorCode::kUnavailable,
                fmt::format("{}: {}", host, ec ? ec.message() : "the name has no address"),
                "check the host's name");
  }
}

AsyncClient::~AsyncClient() = default;

AsyncClient::CallId AsyncClient::send(Request request, OnDone on_done,
                                      std::optional<std::chrono::nanoseconds> abort_after,
                                      BodyHooks hooks) {
  Impl& impl = *impl_;
  const auto now = Clock::now();
  auto call = std::make_shared<Impl::Call>();
  call->head = write_request_head(request.method, request.target, impl.host, impl.port,
                                  request.headers, request.body.size());
  call->body = std::move(request.body);
  call->head_only = request.method == "HEAD";
  call->deadline = now + impl.options.timeout;
  if (abort_after) call->abort_at = now + *abort_after;
  call->hooks = std::move(hooks);
  const CallId id = impl.next_id++;
  impl.calls.emplace(id, call);
  std::unique_ptr<Connection> connection;
  if (!impl.idle.empty()) {
    connection = std::move(impl.idle.back());
    impl.idle.pop_back();
  }
  asio::co_spawn(impl.io, impl.perform(std::move(connection), std::move(call)),
                 [&impl, id, on_done = std::move(on_done)](const std::exception_ptr& error,
                                                           CallResult result) {
                   impl.calls.erase(id);
                   if (error) std::rethrow_exception(error);
                   on_done(std::move(result));
                 });
  return id;
}

void AsyncClient::abort(CallId call) {
  const auto found = impl_->calls.find(call);
  if (found == impl_->calls.end()) return;
  found->second->aborted = true;
  if (found->second->connection) found->second->connection->stream.close();
}

void AsyncClient::at(Time when, std::function<void()> callback) {
  auto timer = std::make_shared<Timer>(impl_->io.get_executor(), when);
  timer->async_wait([timer, callback = std::move(callback)](const error_code& ec) {
    if (!ec) callback();
  });
}

void AsyncClient::run() {
  impl_->io.restart();
  impl_->io.run();
}

void AsyncClient::stop() {
  impl_->io.stop();
}

size_t AsyncClient::num_connections() const {
  return impl_->num_open;
}

uint64_t AsyncClient::num_connects() const {
  return impl_->num_connects;
}

}  // namespace millrace::http
