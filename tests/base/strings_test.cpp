// Trimming, and strings of JSON as Boost.JSON reads them.
#include "base/strings.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace millrace {
namespace {

TEST(Trim, TakesSpaceFromBothEnds) {
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim(" \t\r\n"), "");
  EXPECT_EQ(trim("word"), "word");
  EXPECT_EQ(trim("\t two words \r\n"), "two words");
}

TEST(JsonString, ReadsBackAsTheSameText) {
  std::string text = "\"quoted\" \\ /slash/ \u00fc \U0001f600 ";
  for (int c = 0; c < 0x80; ++c) text += static_cast<char>(c);
  const std::string written = to_json_string(text);
  EXPECT_EQ(json::parse(written, "text").as_string(), text);
  for (const char c : written) EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

}  // namespace
}  // namespace millrace
