// The request parser on any bytes: bounded, and the same verdict however the bytes arrive.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/parser.h"

namespace {

using millrace::http::ParserLimits;
using millrace::http::Request;
using millrace::http::RequestParser;

struct Verdict {
  int status = -1;  // 0: accepted; -1: incomplete; else the refusal's
  size_t used = 0;
  Request request;
};

void require(bool holds) {
  if (!holds) std::abort();
}

Verdict parse(std::string_view bytes, const ParserLimits& limits, size_t piece) {
  RequestParser parser(limits);
  Verdict verdict;
  size_t visible = 0;
  while (visible < bytes.size()) {
    visible += std::min(piece, bytes.size() - visible);
    verdict.used += parser.feed(bytes.substr(verdict.used, visible - verdict.used));
    require(verdict.used <= visible);
    if (parser.failed()) {
      verdict.status = parser.failure().status;
      require(verdict.status >= 400 && verdict.status < 600);
      return verdict;
    }
    if (parser.done()) {
      verdict.status = 0;
      verdict.request = parser.take();
      return verdict;
    }
    require(visible - verdict.used <= limits.max_header_bytes);  // what the caller must keep
  }
  return verdict;
}

}  // namespace

// The first byte sets how large the pieces are; the rest are the bytes of a connection.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const ParserLimits limits{.max_header_bytes = 512, .max_headers = 8, .max_body_bytes = 256};
  const Verdict whole = parse(bytes, limits, bytes.size() + 1);
  const Verdict pieces = parse(bytes, limits, 1 + data[0] % 16);
  require(whole.status == pieces.status);
  if (whole.status != 0) return 0;

  require(whole.used == pieces.used);
  require(whole.request.body == pieces.request.body);
  require(whole.request.body.size() <= limits.max_body_bytes);
  require(whole.request.headers.size() <= limits.max_headers);
  require(!whole.request.path.empty());
  for (const auto& [name, value] : whole.request.headers) {
    require(!name.empty());
    require((name + value).find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
  return 0;
}
