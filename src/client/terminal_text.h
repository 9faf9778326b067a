// Text that nobody vouches for, made safe to show on a terminal.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// A terminal obeys control characters: text of a model could move the cursor, rename the window or
// write into the clipboard. Here only line feeds and tabs stay what they are. Other controls of
// ASCII are shown as ^X, those of Unicode (C1, and marks that turn the direction of writing) as
// <U+202E>, bytes that are no UTF-8 as U+FFFD. Takes text in pieces; a character may be split.
class TerminalText {
 public:
  std::string feed(std::string_view text);
  std::string end();  // what a last, broken character becomes

 private:
  std::string held_;  // the first bytes of a character
};

}  // namespace millrace
