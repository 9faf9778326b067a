// The reader of server-sent events on any bytes: bounded, and the same events however they arrive.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "http/sse.h"

namespace {

using millrace::http::SseEvent;
using millrace::http::SseLimits;
using millrace::http::SseParser;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Read {
  std::vector<std::string> events;
  bool failed = false;
};

Read read(std::string_view bytes, const SseLimits& limits, size_t piece) {
  SseParser parser(limits);
  Read out;
  while (!bytes.empty() && !parser.failed()) {
    const std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    parser.feed(now, [&](const SseEvent& event) {
      require(event.data.size() <= limits.max_event_bytes);
      require(event.data.find('\r') == std::string::npos);
      require(!event.type.empty());
      out.events.push_back(event.type + "|" + event.data);
    });
  }
  out.failed = parser.failed();
  return out;
}

}  // namespace

// The first byte sets how large the pieces are; the rest are the bytes of a body.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const SseLimits limits{.max_line_bytes = 64, .max_event_bytes = 96};
  const Read whole = read(bytes, limits, bytes.size() + 1);
  const Read pieces = read(bytes, limits, 1 + data[0] % 16);
  require(whole.events == pieces.events);
  require(whole.failed == pieces.failed);

  // What we write is read as it was, line breaks being all alike.
  std::string text(bytes);
  std::erase(text, '\r');
  const Read again = read(millrace::http::sse_event(text), {}, 1 + data[0] % 16);
  require(again.events == std::vector<std::string>{"message|" + text});
  return 0;
}
