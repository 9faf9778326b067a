// The HTTP/1.1 server: workers, limits, and a stop that lets work finish.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/exchange.h"
#include "http/message.h"

namespace millrace::http {

// One answered request, for logs and metrics.
struct AccessRecord {
  const Request& request;  // of a request that could not be parsed: empty but for `remote`
  int status = 0;
  size_t request_bytes = 0;                   // of the body
  size_t response_bytes = 0;                  // head and body as written, framing included
  std::chrono::nanoseconds duration{0};       // whole request received to last byte written
  bool client_gone = false;                   // nobody was there to read the (whole) answer
  bool streamed = false;                      // the body was written piece by piece
  bool cut_off = false;                       // a stream that the client did not read
  const Headers* response_headers = nullptr;  // of the answer; null when there was none
};

// What a client may ask of us, and how long it may take.
struct ServerOptions {
  std::string host = "127.0.0.1";  // address or name to listen on; "::" and "0.0.0.0" are all
  uint16_t port = 8000;            // 0: the system chooses, see Server::port()
  int num_threads = 2;             // workers; handlers run on them
  int backlog = 1024;              // connections that the kernel holds for us
  size_t max_connections = 4096;   // beyond: answered 503 and closed

  size_t max_header_bytes = 64 * 1024;       // request line and headers; beyond: 414 or 431
  size_t max_headers = 100;                  // header fields; beyond: 431
  size_t max_body_bytes = 32 * 1024 * 1024;  // decoded body; beyond: 413
  // Of all connections together: bodies of requests from their first byte on, bodies of answers to
  // their last one; beyond: 503, and a stream that would go beyond is cut off.
  size_t max_total_body_bytes = size_t{1} << 30;
  // Of one streamed answer: where more than this waits for a client that does not read (beside what
  // the system's socket buffers hold) and more is written, the connection is reset.
  size_t max_stream_bytes = 1024 * 1024;

  std::chrono::milliseconds header_timeout{10'000};    // first byte to last header; then 408
  std::chrono::milliseconds body_timeout{60'000};      // without a byte of the body; then 408
  std::chrono::milliseconds receive_timeout{600'000};  // first byte to last of the body; then 408
  std::chrono::milliseconds write_timeout{60'000};     // without progress; then closed
  std::chrono::milliseconds idle_timeout{75'000};      // between requests; then closed

  // Looks at a request whose body is not read yet; what it returns is sent instead of reading on,
  // and the connection closes. On a worker; must be quick, must not throw.
  std::function<std::optional<Response>(const Request& head)> admit;
  // The answer to a request that never reaches a handler (400, 404, 405, 408, 413, 414, 417, 431,
  // 500, 501, 503, 505). Any thread. Default: the message as plain text.
  ErrorBody error_body;
  // Called on a worker after each answer, protocol errors included. Must be quick, must not throw.
  std::function<void(const AccessRecord&)> on_access;
};

// Requests of one connection are answered in order: the next is read only after the answer.
class Server {
 public:
  // Binds at once, so that a bad address is told before any other work.
  // Throws Error{kInvalidArgument, kIo} with the remedy.
  Server(ServerOptions options, Handler handler);
  ~Server();  // stop_now()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start();  // listens and runs the workers; returns at once

  uint16_t port() const;           // the bound port
  std::string address() const;     // "http://127.0.0.1:8000"
  size_t num_connections() const;  // open now

  // Runs `work` on a worker: for what other threads would rather not do themselves, such as writing
  // a long answer. Any thread. Dropped when the server has stopped. What it throws is logged.
  void post(std::function<void()> work);

  // The three below may be called from any thread but a worker's.
  void stop_accepting();  // new connections are refused; open ones go on
  // Stops accepting, closes idle connections, lets requests in work be answered (with
  // "Connection: close"), then stops. False when the deadline passed with requests unanswered.
  bool drain(std::chrono::milliseconds deadline);
  void stop_now();  // closes every connection, ends the workers; idempotent

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::http
