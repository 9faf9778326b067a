// Lines, fields, events.
#include "http/sse.h"

#include <algorithm>
#include <utility>

namespace millrace::http {

std::string sse_event(std::string_view data) {
  std::string out;
  out.reserve(data.size() + 8);
  while (true) {
    const size_t end = std::min(data.find_first_of("\r\n"), data.size());
    out += "data: ";
    out += data.substr(0, end);
    out += '\n';
    if (end == data.size()) break;
    data.remove_prefix(data.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
  }
  out += '\n';
  return out;
}

bool SseParser::add_data(std::string_view value) {
  if (event_.data.size() + value.size() + 1 > limits_.max_event_bytes) return false;
  if (std::exchange(has_data_, true)) event_.data += '\n';
  event_.data += value;
  return true;
}

void SseParser::end_line(std::string_view line, const OnEvent& on_event) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (std::exchange(first_line_, false) && line.starts_with(kByteOrderMark)) {
    line.remove_prefix(kByteOrderMark.size());
  }
  if (line.empty()) {
    if (std::exchange(has_data_, false)) {
      if (event_.type.empty()) event_.type = "message";
      on_event(event_);
    }
    event_ = {};
    return;
  }
  const size_t colon = std::min(line.find(':'), line.size());
  const std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(std::min(colon + 1, line.size()));
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    failed_ = !add_data(value);
  } else if (name == "event") {
    event_.type = value;
  }
}

bool SseParser::feed(std::string_view bytes, const OnEvent& on_event) {
  while (!bytes.empty() && !failed_) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const size_t end = bytes.find_first_of("\r\n");
    const std::string_view piece = bytes.substr(0, end);
    if (line_.size() + piece.size() > limits_.max_line_bytes) {
      failed_ = true;
      break;
    }
    if (end == std::string_view::npos) {
      line_ += piece;
      break;
    }
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (line_.empty()) {
      end_line(piece, on_event);
    } else {
      line_ += piece;
      end_line(line_, on_event);
      line_.clear();
    }
  }
  return !failed_;
}

}  // namespace millrace::http
