// StopStrings: ends a text where one of several strings appears, and holds back what may begin one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// Fed with a choice's text piece by piece, as tokens complete it. What it hands out may be sent:
// all of it together is the text up to the first stop string, whatever the borders of the pieces.
// A character costs a constant time on average: the strings are compared only where their first
// bytes match the held text.
class StopStrings {
 public:
  // No string may be empty. `include_stop`: the text ends with the stop string, not before it.
  explicit StopStrings(std::vector<std::string> strings, bool include_stop = false);

  // The text that is certain now. `may_stop`: false while fewer than min_tokens were generated;
  // a stop string that begins in such text, or before its end, is part of the text.
  std::string push(std::string_view piece, bool may_stop = true);

  // What is held, when the choice ends for another reason.
  std::string finish();

  // Index of the string that ended the text; nothing is handed out after it. Of two that end at the
  // same byte the one that begins first, then the first of the list.
  std::optional<size_t> stopped_by() const { return stopped_by_; }

 private:
  std::optional<size_t> ending_at(size_t end) const;
  size_t num_held() const;

  std::vector<std::string> strings_;
  bool include_stop_;
  std::string held_;  // not handed out
  std::optional<size_t> stopped_by_;
};

}  // namespace millrace
