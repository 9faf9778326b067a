// Stop strings across the borders of pieces, against a search of the whole text.
#include "runtime/stop_strings.h"

#include <gtest/gtest.h>

#include "kernels/kernel_test.h"

namespace millrace {
namespace {

TEST(StopStrings, NothingOfAStopStringIsEverHandedOut) {
  StopStrings stop({"</s>", "END"});
  EXPECT_EQ(stop.push("one <"), "one ");
  EXPECT_EQ(stop.push("/"), "");
  EXPECT_EQ(stop.push("b> E"), "</b> ");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_EQ(stop.push("Dless"), "");
  EXPECT_EQ(stop.stopped_by(), 1u);
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopStrings, WhatIsHeldComesWithTheEnd) {
  StopStrings stop({"abc"});
  EXPECT_EQ(stop.push("xab"), "x");
  EXPECT_EQ(stop.finish(), "ab");
  EXPECT_FALSE(stop.stopped_by());
}

TEST(StopStrings, AFalseBeginMayHideATrueOne) {
  StopStrings stop({"aab"});
  EXPECT_EQ(stop.push("aa"), "");
  EXPECT_EQ(stop.push("a"), "a");
  EXPECT_EQ(stop.push("b"), "");
  EXPECT_TRUE(stop.stopped_by());
}

TEST(StopStrings, TheStopStringIsIncludedWhenAskedFor) {
  StopStrings stop({"\n\n"}, true);
  EXPECT_EQ(stop.push("line\n"), "line");
  EXPECT_EQ(stop.push("\nnext"), "\n\n");
  EXPECT_TRUE(stop.stopped_by());
}

TEST(StopStrings, BeforeMinTokensTheyArePartOfTheText) {
  StopStrings stop({"ab"});
  EXPECT_EQ(stop.push("xa", false), "xa");
  EXPECT_EQ(stop.push("b", true), "b") << "it began too early";
  EXPECT_EQ(stop.push("ab", true), "");
  EXPECT_TRUE(stop.stopped_by());
}

TEST(StopStrings, NoStringsHoldNothing) {
  StopStrings stop({});
  EXPECT_EQ(stop.push("anything"), "anything");
}

// The whole text at once: the match that ends first, and of those the one that begins first.
struct ExpectedText {
  std::string text;
  std::optional<size_t> stopped_by;
};

ExpectedText search(const std::string& text, const std::vector<std::string>& strings,
                    bool include) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<size_t> found;
    for (size_t i = 0; i < strings.size(); ++i) {
      const size_t size = strings[i].size();
      if (size <= end && text.compare(end - size, size, strings[i]) == 0 &&
          (!found || size > strings[*found].size()))
        found = i;
    }
    if (found) return {text.substr(0, include ? end : end - strings[*found].size()), found};
  }
  return {text, {}};
}

TEST(StopStrings, AnyPiecesGiveWhatTheWholeTextGives) {
  cpu::Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  const auto draw_text = [&](int64_t least, int64_t most) {
    std::string text(static_cast<size_t>(random.integer(least, most)), ' ');
    for (char& byte : text) byte = "ab"[random.integer(0, 1)];
    return text;
  };
  int num_stopped = 0;
  for (int round = 0; round < 20'000 && !HasFailure(); ++round) {
    std::vector<std::string> strings(static_cast<size_t>(random.integer(0, 3)));
    for (std::string& string : strings) string = draw_text(1, 8);
    const bool include = random.integer(0, 1) == 1;
    const std::string text = draw_text(0, 60);
    const ExpectedText expected = search(text, strings, include);
    StopStrings stop(strings, include);
    std::string sent;
    for (size_t at = 0; at < text.size() && !stop.stopped_by();) {
      const auto length = static_cast<size_t>(random.integer(0, 6));
      sent += stop.push(text.substr(at, length));
      ASSERT_TRUE(expected.text.starts_with(sent)) << "what is sent stays right";
      at += length;
    }
    sent += stop.finish();
    ASSERT_EQ(sent, expected.text);
    ASSERT_EQ(stop.stopped_by(), expected.stopped_by);
    num_stopped += stop.stopped_by() ? 1 : 0;
  }
  EXPECT_GT(num_stopped, 0);
}

}  // namespace
}  // namespace millrace
