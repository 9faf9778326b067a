// Errors carry what, where and remedy; CHECK carries the place.
#include "base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "support/errors.h"

namespace millrace {
namespace {

using testing::HasSubstr;

TEST(ErrorTest, TextIsMessageAndHint) {
  const Error error(ErrorCode::kCorrupt, "a.bin is truncated", "download it again");
  EXPECT_STREQ(error.what(), "a.bin is truncated; download it again");
  EXPECT_EQ(error.message(), "a.bin is truncated");
  EXPECT_EQ(error.hint(), "download it again");
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
}

TEST(ErrorTest, WithoutHintTheTextIsTheMessage) {
  const Error error(ErrorCode::kIo, "disk gone");
  EXPECT_STREQ(error.what(), "disk gone");
  EXPECT_TRUE(error.hint().empty());
}

TEST(ErrorTest, ForeignControlCharactersAreShown) {
  const Error error(ErrorCode::kCorrupt, std::string("tensor a\x1b[2J\0b\x7f", 15) + "\n\tc");
  EXPECT_EQ(error.message(), "tensor a\\x1b[2J\\x00b\\x7f\n\tc");
  EXPECT_EQ(error.what(), error.message());
}

TEST(ErrorTest, EveryCodeHasItsName) {
  std::set<std::string_view> names;
  for (ErrorCode code : {ErrorCode::kInvalidArgument, ErrorCode::kNotFound, ErrorCode::kUnsupported,
                         ErrorCode::kCorrupt, ErrorCode::kIo, ErrorCode::kOverloaded,
                         ErrorCode::kUnavailable, ErrorCode::kCancelled}) {
    EXPECT_NE(to_string(code), "unknown");
    EXPECT_TRUE(names.insert(to_string(code)).second) << to_string(code);
  }
}

TEST(CheckTest, PassesSilently) {
  EXPECT_NO_THROW(CHECK(1 + 1 == 2));
}

TEST(CheckTest, NamesFileConditionAndValues) {
  const int rows = 3;
  const std::string text = test::internal_error_of([&] { CHECK(rows == 4, "rows is {}", rows); });
  EXPECT_THAT(text, HasSubstr("error_test.cpp:"));
  EXPECT_THAT(text, HasSubstr("CHECK(rows == 4) failed: rows is 3"));
}

TEST(CheckTest, NeedsNoMessage) {
  EXPECT_THAT(test::internal_error_of([] { CHECK(2 > 3); }), HasSubstr("CHECK(2 > 3) failed"));
}

TEST(CheckTest, DoesNotEvaluateItsMessageWhenTrue) {
  int evaluated = 0;
  CHECK(true, "{}", ++evaluated);
  EXPECT_EQ(evaluated, 0);
}

}  // namespace
}  // namespace millrace
