// The request parser: bytes in, a Request or a status out. Works on memory, knows no socket.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "http/message.h"

namespace millrace::http {

struct ParserLimits {
  size_t max_header_bytes = 64 * 1024;       // request line and headers; also chunk framing
  size_t max_headers = 100;                  // fields
  size_t max_body_bytes = 32 * 1024 * 1024;  // decoded
};

// Why a request is refused, and with which status.
struct ParseFailure {
  int status = 400;
  std::string message;
};

// One request at a time; reset() for the next of the connection. Stricter than RFC 9112 has to be
// wherever two readers of the same bytes could disagree on where a request ends: no bare CR or LF,
// no folded lines, one Host, one Content-Length that is one number, Transfer-Encoding only as
// "chunked", only in HTTP/1.1 and never beside Content-Length.
class RequestParser {
 public:
  explicit RequestParser(ParserLimits limits);
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;
  RequestParser& operator=(RequestParser&&) noexcept;

  void reset();

  // Reads from the front of `bytes` and returns how many were used. The caller gives the unused
  // rest again, with more behind it, until done() or failed(); the rest never exceeds
  // max_header_bytes. Requires: neither done() nor failed().
  size_t feed(std::string_view bytes);

  bool started() const;      // a byte of the request was seen
  bool header_done() const;  // method, target and headers are known and acceptable
  bool done() const;
  bool failed() const;
  const ParseFailure& failure() const;  // requires failed()

  bool keep_alive() const;        // requires header_done(): the client would go on
  bool expects_continue() const;  // requires header_done(): it waits for a 100 before the body
  Request take();                 // requires done()

  const Request& request() const;  // what is known so far; empty before header_done()
  Request take_head();             // the same, without the body, of one that will not be finished
  size_t body_bytes() const;       // read so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::http
