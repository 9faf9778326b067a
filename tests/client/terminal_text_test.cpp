// What a terminal may be shown.
#include "client/terminal_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace millrace {
namespace {

std::string show(std::string_view text, size_t piece) {
  TerminalText terminal;
  std::string out;
  while (!text.empty()) {
    out += terminal.feed(text.substr(0, piece));
    text.remove_prefix(std::min(piece, text.size()));
  }
  return out + terminal.end();
}

TEST(TerminalText, LeavesTextAloneAndSpellsControlsOut) {
  const std::string kBad = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"plain\ttext\n", "plain\ttext\n"},
      {"\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
      {"\x1b[2J\x1b]0;title\x07", "^[[2J^[]0;title^G"},
      {std::string("\0\r\x7f\b", 4), "^@^M^?^H"},
      {"\xC2\x9B"
       "2J",
       "<U+009B>2J"},  // a CSI of one character
      {"a\xE2\x80\xAE"
       "b\xE2\x81\xA6",
       "a<U+202E>b<U+2066>"},  // turns what follows around
      {"\xE2\x80\xA8", "<U+2028>"},
      {"\xff\xfe", kBad + kBad},
      {"\xC3(", kBad + "("},
      {"\xE2\x82", kBad},                            // ends within a character
      {"\xC0\x9B\xE0\x80\x9B", kBad + kBad + kBad},  // overlong forms of ESC
      {"\xED\xA0\x80\xF4\x90\x80\x80", kBad + kBad}};
  for (const auto& [text, shown] : cases) {
    for (const size_t piece : {1, 2, 3, 100}) {
      EXPECT_EQ(show(text, piece), shown) << "in pieces of " << piece;
    }
  }
}

TEST(TerminalText, ShowsNoControlOfAnyBytes) {
  const auto seed = std::random_device()();
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (int i = 0; i < 200; ++i) bytes += static_cast<char>(random() % (round % 2 ? 256 : 48));
    const std::string shown = show(bytes, 1 + random() % 9);
    for (size_t i = 0; i < shown.size(); ++i) {
      const auto c = static_cast<unsigned char>(shown[i]);
      ASSERT_TRUE(c >= 0x20 || c == '\n' || c == '\t') << seed;
      ASSERT_NE(c, 0x7f) << seed;
      if (c == 0xC2 && i + 1 < shown.size()) {
        ASSERT_GE(static_cast<unsigned char>(shown[i + 1]), 0xA0) << seed;
      }
    }
    ASSERT_EQ(shown, show(bytes, bytes.size())) << seed;
  }
}

}  // namespace
}  // namespace millrace
