// The first end of any string, and the longest end of the text that begins one.
#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace millrace {

StopStrings::StopStrings(std::vector<std::string> strings, bool include_stop)
    : strings_(std::move(strings)), include_stop_(include_stop) {
  for (const std::string& string : strings_) CHECK(!string.empty(), "an empty stop string");
}

std::string StopStrings::push(std::string_view piece, bool may_stop) {
  CHECK(!stopped_by_, "the text has ended");
  if (!may_stop) {
    held_ += piece;
    return std::exchange(held_, {});
  }
  for (const char byte : piece) {
    held_ += byte;
    stopped_by_ = ending_at(held_.size());
    if (!stopped_by_) continue;
    if (!include_stop_) held_.resize(held_.size() - strings_[*stopped_by_].size());
    return std::exchange(held_, {});
  }
  std::string certain = held_.substr(0, held_.size() - num_held());
  held_.erase(0, certain.size());
  return certain;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

std::optional<size_t> StopStrings::ending_at(size_t end) const {
  const std::string_view text = std::string_view(held_).substr(0, end);
  std::optional<size_t> longest;
  for (size_t i = 0; i < strings_.size(); ++i) {
    if (text.ends_with(strings_[i]) && (!longest || strings_[i].size() > strings_[*longest].size()))
      longest = i;
  }
  return longest;
}

// The length of the longest end of the held text that one of the strings begins with.
size_t StopStrings::num_held() const {
  size_t longest = 0;
  for (const std::string& string : strings_) {
    for (size_t length = std::min(string.size() - 1, held_.size()); length > longest; --length) {
      if (held_.ends_with(std::string_view(string).substr(0, length))) longest = length;
    }
  }
  return longest;
}

}  // namespace millrace
