// JSON's limits, the errors of its reads, duplicate keys, and the form of written files.
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct BadText {
  std::string_view text;
  std::string_view place;  // line:column of the message
};

TEST(JsonParseTest, RefusesWhatIsNotStrictJsonAndSaysWhere) {
  for (const auto& [text, place] : {
           BadText{"", "f:1:1"},
           BadText{"{", "f:1:"},
           BadText{"{\"a\": 1,}", "f:1:"},
           BadText{"{\n  \"a\": tru\n}", "f:2:"},
           BadText{"[1] x", "f:1:"},
           BadText{"[1][2]", "f:1:"},
           BadText{"{'a': 1}", "f:1:"},
           BadText{"[NaN]", "f:1:"},
           BadText{"[01]", "f:1:"},
           BadText{"[1] // comment", "f:1:"},
           BadText{"\xef\xbb\xbf{}", "f:1:"},
           BadText{"\"\x01\"", "f:1:"},
           BadText{"\"\xff\"", "f:1:"},
           BadText{"\"\\ud800\"", "f:1:"},
       }) {
    SCOPED_TRACE(text);
    const Error error = error_of([&] { json::parse(text, "f"); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.what(), HasSubstr(place));
    EXPECT_THAT(error.what(), HasSubstr("not valid JSON"));
  }
}

TEST(JsonParseTest, AcceptsSurroundingSpace) {
  EXPECT_TRUE(json::parse(" \n{\"a\": 1}\n\n ", "f").is_object());
}

TEST(JsonParseTest, DepthAndSizeAreLimited) {
  const auto nested = [](int depth) {
    return std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']');
  };
  EXPECT_NO_THROW(json::parse(nested(3), "f", {.max_depth = 3}));
  EXPECT_THAT(error_of([&] { json::parse(nested(4), "f", {.max_depth = 3}); }).what(),
              HasSubstr("f:1:4"));
  EXPECT_NO_THROW(json::parse(nested(32), "f"));
  EXPECT_THROW(json::parse(nested(33), "f"), Error);
  EXPECT_THROW(json::parse(nested(1'000'000), "f"), Error);

  EXPECT_NO_THROW(json::parse("[1, 2]", "f", {.max_bytes = 6}));
  EXPECT_THAT(error_of([] { json::parse("[1, 2]", "f", {.max_bytes = 5}); }).what(),
              HasSubstr("f: 6 bytes of JSON, the limit is 5"));
}

TEST(JsonParseTest, AFileIsNamedByItsPath) {
  const test::TempDir dir;
  const std::string path = dir.write("a.json", "{\n?");
  EXPECT_THAT(error_of([&] { json::parse_file(path); }).what(), HasSubstr(path + ":2:1"));
  EXPECT_EQ(error_of([&] { json::parse_file(dir / "none.json"); }).code(), ErrorCode::kNotFound);
}

TEST(JsonReaderTest, ReadsEveryKind) {
  const json::value v = json::parse(
      R"({"i": -3, "big": 9223372036854775807, "n": 2.5, "b": true, "s": "x", "l": ["a", "b"],
          "o": {"k": 1}, "z": null})",
      "f");
  const json::Reader reader(v.get_object(), "f");
  EXPECT_EQ(reader.integer("i"), -3);
  EXPECT_EQ(reader.integer("big"), INT64_MAX);
  EXPECT_EQ(reader.number("i"), -3.0);
  EXPECT_EQ(reader.number("n"), 2.5);
  EXPECT_EQ(reader.boolean("b"), true);
  EXPECT_EQ(reader.string("s"), "x");
  EXPECT_THAT(reader.strings("l"), ElementsAre("a", "b"));
  EXPECT_EQ(reader.child("o")->integer("k"), 1);
  EXPECT_EQ(reader.require_integer("i", -3, -3), -3);
  EXPECT_EQ(reader.require_string("s"), "x");
}

TEST(JsonReaderTest, NullIsAbsent) {
  const json::value v = json::parse(R"({"z": null})", "f");
  const json::Reader reader(v.get_object(), "f");
  for (const char* key : {"z", "none"}) {
    EXPECT_FALSE(reader.has(key));
    EXPECT_EQ(reader.integer(key), std::nullopt);
    EXPECT_EQ(reader.number(key), std::nullopt);
    EXPECT_EQ(reader.boolean(key), std::nullopt);
    EXPECT_EQ(reader.string(key), std::nullopt);
    EXPECT_FALSE(reader.child(key));
    EXPECT_THAT(reader.strings(key), IsEmpty());
    EXPECT_THAT(error_of([&] { reader.require_string(key); }).what(), HasSubstr("missing"));
    EXPECT_THAT(error_of([&] { reader.require_integer(key, 0, 1); }).what(), HasSubstr("missing"));
  }
}

TEST(JsonReaderTest, WrongKindsNameFileKeyAndWhatWasFound) {
  const json::value v = json::parse(
      R"({"n": 2.5, "s": "x", "l": ["a", 1], "huge": 9223372036854775808, "e": 1e30})", "f.json");
  const json::Reader reader(v.get_object(), "f.json");
  const auto text = [](auto call) { return std::string(error_of(call).what()); };
  EXPECT_EQ(text([&] { reader.integer("n"); }), "f.json: n: expected an integer, found a number");
  EXPECT_EQ(text([&] { reader.integer("e"); }), "f.json: e: expected an integer, found a number");
  EXPECT_EQ(text([&] { reader.integer("huge"); }), "f.json: huge: the integer is too large");
  EXPECT_EQ(text([&] { reader.number("s"); }), "f.json: s: expected a number, found a string");
  EXPECT_EQ(text([&] { reader.boolean("n"); }),
            "f.json: n: expected true or false, found a number");
  EXPECT_EQ(text([&] { reader.string("l"); }), "f.json: l: expected a string, found an array");
  EXPECT_EQ(text([&] { reader.child("s"); }), "f.json: s: expected an object, found a string");
  EXPECT_EQ(text([&] { reader.strings("l"); }), "f.json: l: expected strings, found an integer");
  EXPECT_EQ(text([&] { reader.strings("s"); }),
            "f.json: s: expected an array of strings, found a string");
  EXPECT_EQ(text([&] { json::as_object(v.at("s"), "f.json"); }),
            "f.json: expected an object, found a string");
}

TEST(JsonReaderTest, RangesAreInclusiveAndChildrenNameTheirPath) {
  const json::value v = json::parse(R"({"o": {"k": 7}})", "f.json");
  const json::Reader reader(v.get_object(), "f.json");
  EXPECT_EQ(reader.child("o")->require_integer("k", 7, 7), 7);
  EXPECT_STREQ(error_of([&] { reader.child("o")->require_integer("k", 8, 9); }).what(),
               "f.json: o: k: 7 is outside 8..9");
}

TEST(JsonDuplicateKeyTest, FindsKeysOfOneObjectGivenTwice) {
  EXPECT_THAT(json::find_duplicate_key(R"({"a": 1, "b": 2})"), IsEmpty());
  EXPECT_THAT(json::find_duplicate_key(R"({"a": 1, "a": 2})"), ElementsAre("a"));
  EXPECT_THAT(json::find_duplicate_key(R"({"a": 1, "\u0061" : 2})"), ElementsAre("a"));
  EXPECT_THAT(json::find_duplicate_key(R"({"x": {"a": 1, "a": 2}})"), ElementsAre("x", "a"));
  EXPECT_THAT(json::find_duplicate_key(R"({"x\"": 1, "x\"": 2})"), ElementsAre("x\""));
}

TEST(JsonDuplicateKeyTest, ValuesAndOtherObjectsAreNoDuplicates) {
  EXPECT_THAT(json::find_duplicate_key(R"({"a": "a", "b": ["b", "b", "a"]})"), IsEmpty());
  EXPECT_THAT(json::find_duplicate_key(R"({"a": {"a": {"a": 1}}, "b": {"a": 2}})"), IsEmpty());
  EXPECT_THAT(json::find_duplicate_key(R"([{"a": 1}, {"a": 1}])"), IsEmpty());
  EXPECT_THAT(json::find_duplicate_key(R"({"a": "{\"a\": 1", "c": "\\", "d": "}"})"), IsEmpty());
  EXPECT_THAT(json::find_duplicate_key("3"), IsEmpty());
}

TEST(JsonTextTest, FilesAreIndentedAndEndInANewline) {
  const json::value v =
      json::parse(R"({"b":1,"a":{"x":[1,2],"y":[]},"l":[{"k":"v"}],"e":{}})", "f");
  EXPECT_EQ(json::to_pretty_text(v),
            "{\n"
            "  \"b\": 1,\n"
            "  \"a\": {\n"
            "    \"x\": [1,2],\n"
            "    \"y\": []\n"
            "  },\n"
            "  \"l\": [\n"
            "    {\n"
            "      \"k\": \"v\"\n"
            "    }\n"
            "  ],\n"
            "  \"e\": {}\n"
            "}\n");
  EXPECT_EQ(json::parse(json::to_pretty_text(v), "f"), v);
  EXPECT_EQ(json::to_text(v), R"({"b":1,"a":{"x":[1,2],"y":[]},"l":[{"k":"v"}],"e":{}})");
}

}  // namespace
}  // namespace millrace
