// Server-sent events (WHATWG HTML, section 9.2): one event as text, and a reader of a stream of
// them.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace millrace::http {

// One event: "data: ...\n\n"; of data with line breaks, a field for each line.
std::string sse_event(std::string_view data);

struct SseLimits {
  size_t max_line_bytes = 4 * 1024 * 1024;
  size_t max_event_bytes = 16 * 1024 * 1024;  // of its data
};

struct SseEvent {
  std::string type;  // "message" where the stream does not say
  std::string data;  // lines joined by LF
};

// Takes the bytes as they come, cut anywhere. Comments, `id`, `retry` and events without data are
// passed over, as the specification has it.
class SseParser {
 public:
  using OnEvent = std::function<void(const SseEvent&)>;

  explicit SseParser(SseLimits limits = {}) : limits_(limits) {}

  // False once a limit is exceeded: the rest is not read.
  bool feed(std::string_view bytes, const OnEvent& on_event);

  bool failed() const { return failed_; }

 private:
  void end_line(std::string_view line, const OnEvent& on_event);
  bool add_data(std::string_view value);

  SseLimits limits_;
  std::string line_;  // the beginning of one whose end has not come
  SseEvent event_;
  bool has_data_ = false;
  bool after_cr_ = false;  // a LF that follows belongs to the line break before
  bool first_line_ = true;
  bool failed_ = false;
};

}  // namespace millrace::http
