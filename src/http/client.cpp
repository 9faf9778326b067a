// Beast's client operations on a private io_context, run to completion or to the timeout.
#include "http/client.h"

#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "http/piece_body.h"
#include "http/request_head.h"

namespace millrace::http {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

}  // namespace

struct Client::Connection {
  std::string host;
  uint16_t port;
  ClientOptions options;
  asio::io_context io;
  std::optional<beast::tcp_stream> stream;
  beast::flat_buffer buffer;
  bool reused = false;

  [[noreturn]] void fail(const error_code& ec, std::string_view step) {
    stream.reset();
    if (ec == beast::error::timeout) {
      throw Error(ErrorCode::kCancelled, fmt::format("{}:{}: {}: no answer within {} ms", host,
                                                     port, step, options.timeout.count()));
    }
    const bool refused = ec == asio::error::connection_refused || ec == asio::error::host_not_found;
    const bool garbled =
        ec.category() == beast::http::make_error_code(beast::http::error::bad_value).category() &&
        ec != beast::http::error::end_of_stream && ec != beast::http::error::partial_message;
    const auto code = refused   ? ErrorCode::kUnavailable
                      : garbled ? ErrorCode::kCorrupt
                                : ErrorCode::kIo;
    throw Error(code, fmt::format("{}:{}: {}: {}", host, port, step, ec.message()),
                refused ? "is the server running?" : "");
  }

  // Runs what was started; the stream's own deadline ends it.
  error_code finish(std::optional<error_code>& result) {
    io.restart();
    io.run();
    CHECK(result.has_value());
    return *result;
  }

  void connect() {
    asio::ip::tcp::resolver resolver(io);
    error_code ec;
    const auto endpoints = resolver.resolve(host, std::to_string(port), ec);
    if (ec) fail(ec, "resolve");
    stream.emplace(io);
    buffer.clear();
    reused = false;
    stream->expires_after(options.timeout);
    std::optional<error_code> result;
    stream->async_connect(endpoints, [&](error_code e, const auto&) { result = e; });
    if (finish(result)) fail(*result, "connect");
    stream->socket().set_option(asio::ip::tcp::no_delay(true), ec);
  }
};

Client::Client(std::string host, uint16_t port, ClientOptions options)
    : connection_(std::make_unique<Connection>()) {
  connection_->host = std::move(host);
  connection_->port = port;
  connection_->options = options;
}

Client::~Client() = default;

void Client::close() {
  connection_->stream.reset();
}

Response Client::request(std::string_view method, std::string_view target, const Headers& headers,
                         std::string_view body, const BodyHooks& hooks) {
  Connection& c = *connection_;
  const std::string head = write_request_head(method, target, c.host, c.port, headers, body.size());
  while (true) {
    if (!c.stream) c.connect();
    c.stream->expires_after(c.options.timeout);

    std::optional<error_code> written;
    const std::array<asio::const_buffer, 2> buffers{asio::buffer(head),
                                                    asio::buffer(body.data(), body.size())};
    asio::async_write(*c.stream, buffers, [&](error_code ec, size_t) { written = ec; });
    c.finish(written);

    // Even when the write broke off: the server may have answered before it read everything.
    beast::http::response_parser<PieceBody> parser;
    parser.get().body().hooks = &hooks;
    parser.body_limit(c.options.max_body_bytes);
    parser.skip(method == "HEAD");
    std::optional<error_code> read;
    beast::http::async_read(*c.stream, c.buffer, parser, [&](error_code ec, size_t) { read = ec; });
    if (c.finish(read)) {
      if (parser.get().body().declined) {
        c.stream.reset();
        throw Error(ErrorCode::kCancelled, "the rest of the answer was declined");
      }
      // A kept connection may have been closed just as we used it; nothing of an answer came.
      if (c.reused && !parser.got_some() && *read != beast::error::timeout) {
        c.stream.reset();
        continue;
      }
      c.fail(written && *written ? *written : *read, "request");
    }
    Response response = head_of(parser.get());
    if (hooks.on_head && !parser.get().body().told_head) hooks.on_head(response);
    c.reused = true;
    if (!parser.keep_alive()) c.stream.reset();
    response.body = std::move(parser.get().body().collected);
    return response;
  }
}

}  // namespace millrace::http
