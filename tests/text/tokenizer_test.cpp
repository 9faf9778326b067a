// The tokenizer equals Python's `tokenizers`, and refuses what it must.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string source_path(const std::string& relative) {
  return test::source_dir().string() + "/" + relative;
}

Tokenizer load_tokenizer(const std::string& name) {
  return Tokenizer::from_file(source_path(name == "bert"
                                              ? "tests/golden/bert_mean/tokenizer.json"
                                              : "tests/text/tokenizers/" + name + ".json"));
}

std::vector<int32_t> ints(const json::value& array) {
  return boost::json::value_to<std::vector<int32_t>>(array);
}

std::vector<TokenSpan> token_spans(const json::value& array) {
  std::vector<TokenSpan> out;
  for (const json::value& span : array.as_array()) {
    const auto numbers = ints(span);
    out.push_back({.begin = numbers[0], .end = numbers[1], .special = numbers[2] != 0});
  }
  return out;
}

// The error that `call` throws.
template <typename Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorCode::kInvalidArgument, "nothing");
}

// Valid UTF-8 of mixed scripts, spaces and controls.
std::string random_text(std::mt19937& random, int num_characters) {
  static const std::vector<std::string> kPieces = {"a",
                                                   "e",
                                                   "t",
                                                   "mill",
                                                   " ",
                                                   "  ",
                                                   "\n",
                                                   ".",
                                                   "'",
                                                   "7",
                                                   "\xc3\xa9",
                                                   "e\xcc\x81",
                                                   "\xe6\xb2\xb3",
                                                   "\xf0\x9f\x98\x80",
                                                   "\x01",
                                                   "\xef\xbf\xbd",
                                                   "[SEP]",
                                                   "</s>"};
  std::string text;
  for (int i = 0; i < num_characters; ++i) text += kPieces[random() % kPieces.size()];
  return text;
}

class EveryTokenizer : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, EveryTokenizer,
                         testing::Values("bert", "roberta", "unigram", "fallback", "llama"));

TEST_P(EveryTokenizer, EqualsPython) {
  const Tokenizer tokenizer = load_tokenizer(GetParam());
  const json::value cases = json::parse_file(source_path("tests/text/tokenizer_cases.json"));
  int num_cases = 0;
  for (const json::value& element : cases.as_array()) {
    const json::object& c = element.as_object();
    if (c.at("tokenizer").as_string() != GetParam()) continue;
    ++num_cases;
    SCOPED_TRACE(json::to_text(c));
    EncodeOptions options{
        .max_tokens = static_cast<int>(c.at("max_tokens").as_int64()),
        .truncation_direction =
            c.at("left").as_bool() ? TruncationDirection::kLeft : TruncationDirection::kRight,
        .add_special_tokens = c.at("special").as_bool(),
    };
    const std::string_view text = c.at("text").as_string();
    const auto encode = [&] {
      return c.at("pair").is_null()
                 ? tokenizer.encode(text, options)
                 : tokenizer.encode_pair(text, c.at("pair").as_string(), options);
    };
    const Encoding fast = encode();
    EXPECT_EQ(fast.token_ids, ints(c.at("token_ids")));
    EXPECT_EQ(fast.num_tokens_untruncated, c.at("num_tokens_untruncated").as_int64());
    EXPECT_TRUE(fast.spans.empty());
    if (!c.contains("spans")) continue;

    EXPECT_EQ(fast.token_type_ids, ints(c.at("token_type_ids")));
    options.offsets = OffsetUnit::kCharacters;
    const Encoding full = encode();
    EXPECT_EQ(full.token_ids, fast.token_ids);
    EXPECT_EQ(full.token_type_ids, fast.token_type_ids);
    EXPECT_EQ(full.spans, token_spans(c.at("spans")));
    EXPECT_EQ(tokenizer.decode(fast.token_ids), c.at("decoded").as_string());
    EXPECT_EQ(tokenizer.decode(fast.token_ids, false), c.at("decoded_with_special").as_string());
  }
  EXPECT_GT(num_cases, 100);
}

// Of a single text, truncation keeps a prefix or a suffix; byte offsets stay inside the text.
TEST_P(EveryTokenizer, TruncatesRandomTexts) {
  const Tokenizer tokenizer = load_tokenizer(GetParam());
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 100; ++round) {
    const std::string text = random_text(random, static_cast<int>(random() % 200));
    const Encoding whole =
        tokenizer.encode(text, {.add_special_tokens = false, .offsets = OffsetUnit::kBytes});
    for (const TokenSpan& span : whole.spans) {
      EXPECT_TRUE(0 <= span.begin && span.begin <= span.end &&
                  span.end <= static_cast<int32_t>(text.size()));
    }
    EXPECT_FALSE(whole.truncated());
    const int limit = 1 + static_cast<int>(random() % 100);
    const auto kept = static_cast<ptrdiff_t>(std::min(limit, whole.num_tokens()));
    const Encoding right =
        tokenizer.encode(text, {.max_tokens = limit, .add_special_tokens = false});
    const Encoding left =
        tokenizer.encode(text, {.max_tokens = limit,
                                .truncation_direction = TruncationDirection::kLeft,
                                .add_special_tokens = false});
    EXPECT_EQ(right.token_ids,
              std::vector(whole.token_ids.begin(), whole.token_ids.begin() + kept));
    EXPECT_EQ(left.token_ids, std::vector(whole.token_ids.end() - kept, whole.token_ids.end()));
    for (const Encoding& cut : {right, left}) {
      EXPECT_EQ(cut.num_tokens_untruncated, whole.num_tokens());
      EXPECT_EQ(cut.truncated(), limit < whole.num_tokens());
    }
    for (int32_t id : whole.token_ids) EXPECT_LE(id, tokenizer.max_token_id());
  }
}

TEST_P(EveryTokenizer, GivesEqualResultsOnManyThreads) {
  const Tokenizer tokenizer = load_tokenizer(GetParam());
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> expected;
  for (int i = 0; i < 100; ++i) {
    texts.push_back(random_text(random, 50));
    expected.push_back(tokenizer.encode(texts.back(), {.max_tokens = 20}).token_ids);
  }
  std::vector<int> num_wrong(8);
  {
    std::vector<std::jthread> threads;
    for (int& wrong : num_wrong) {
      threads.emplace_back([&] {
        for (size_t i = 0; i < texts.size(); ++i) {
          const auto ids = tokenizer.encode(texts[i], {.max_tokens = 20}).token_ids;
          wrong += ids != expected[i] || tokenizer.decode(ids) != tokenizer.decode(expected[i]);
        }
      });
    }
  }
  EXPECT_THAT(num_wrong, testing::Each(0));
}

TEST(Tokenizer, KnowsItsVocabulary) {
  const Tokenizer tokenizer = load_tokenizer("bert");
  EXPECT_EQ(tokenizer.vocab_size(), 320);
  EXPECT_EQ(tokenizer.max_token_id(), 319);
  EXPECT_EQ(tokenizer.num_special_tokens(), 2);
  EXPECT_EQ(tokenizer.num_special_tokens(true), 3);
  EXPECT_EQ(tokenizer.token_to_id("[CLS]"), 2);
  EXPECT_EQ(tokenizer.id_to_token(3), "[SEP]");
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(320), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(-1), std::nullopt);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{-1, 320}), "");
}

TEST(Tokenizer, LeavesRoomForSpecialTokens) {
  const Tokenizer tokenizer = load_tokenizer("bert");
  EXPECT_THAT(tokenizer.encode("the mill", {.max_tokens = 2}).token_ids, ElementsAre(2, 3));
  const Error error = error_of([&] { tokenizer.encode("the mill", {.max_tokens = 1}); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.what(), HasSubstr("max_tokens is 1"));
  EXPECT_THROW(tokenizer.encode_pair("the", "mill", {.max_tokens = 2}), Error);
  EXPECT_THROW(tokenizer.encode("the mill", {.max_tokens = -1}), Error);
}

TEST(Tokenizer, RefusesInvalidUtf8) {
  const Tokenizer tokenizer = load_tokenizer("bert");
  for (std::string_view bad :
       {"ab\xff", "ab\xc3", "ab\xc0\x80", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80"}) {
    const Error error = error_of([&] { tokenizer.encode(bad); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message(), HasSubstr("byte 2 "));
    EXPECT_THROW(tokenizer.encode_pair("fine", bad), Error);
  }
}

TEST(Tokenizer, TakesLongTextsUpToTheLimit) {
  const Tokenizer tokenizer = load_tokenizer("bert");
  std::string text;
  while (text.size() < 1'000'000) text += "the mill ";
  const Encoding cut = tokenizer.encode(text, {.max_tokens = 16});
  EXPECT_EQ(cut.num_tokens(), 16);
  EXPECT_EQ(cut.num_tokens_untruncated, tokenizer.encode(text).num_tokens());
  EXPECT_GT(cut.num_tokens_untruncated, 200'000);

  const Error error =
      error_of([&] { tokenizer.encode(std::string(Tokenizer::kMaxTextBytes + 1, 'a')); });
  EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(error.what(), HasSubstr("limit"));
}

TEST(Tokenizer, RefusesWhatIsNoTokenizer) {
  EXPECT_EQ(error_of([] { Tokenizer::from_file("/nowhere/tokenizer.json"); }).code(),
            ErrorCode::kNotFound);
  std::string deep(200'000, '[');
  std::string cut = read_file(source_path("tests/text/tokenizers/unigram.json"));
  cut.resize(cut.size() / 2);
  for (const std::string& bad : {std::string(), std::string("{}"), std::string("null"),
                                 std::string("{\"model\":{\"type\":\"None\"}}"), deep, cut}) {
    const Error error = error_of([&] { Tokenizer::from_json(bad, "some/tokenizer.json"); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.message(), HasSubstr("some/tokenizer.json: "));
    EXPECT_FALSE(error.hint().empty());
  }
}

// Token ids are signed here; a vocabulary beyond them is refused at load.
TEST(Tokenizer, RefusesIdsOutOfRange) {
  const auto with_id = [](std::string_view id) {
    return fmt::format(
        R"({{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,)"
        R"("pre_tokenizer":{{"type":"Whitespace"}},"post_processor":null,"decoder":null,)"
        R"("model":{{"type":"WordLevel","vocab":{{"a":0,"b":{}}},"unk_token":"a"}}}})",
        id);
  };
  const Tokenizer tokenizer = Tokenizer::from_json(with_id("2147483647"));
  EXPECT_THAT(tokenizer.encode("b c").token_ids, ElementsAre(2147483647, 0));
  const Encoding pair = tokenizer.encode_pair("a", "b b");
  EXPECT_THAT(pair.token_type_ids, ElementsAre(0, 1, 1));
  EXPECT_EQ(error_of([&] { Tokenizer::from_json(with_id("2147483648")); }).code(),
            ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace millrace
