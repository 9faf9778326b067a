// The text of a choice: joined, it is what decoding gives up to its end, however it ends.
#include "server/choice_text.h"

#include <gtest/gtest.h>

#include "server/choice.h"
#include "server/demo_tokenizer.h"

namespace millrace {
namespace {

const TokenPieces& pieces() {
  static const TokenPieces demo(demo_tokenizer());
  return demo;
}

std::vector<int32_t> ids_of(std::string_view text) {
  return demo_tokenizer().encode(text, {.add_special_tokens = false}).token_ids;
}

// All that a text lets out, until it has stopped or ended.
std::string text_of(const std::vector<int32_t>& ids, ChoiceTextOptions options) {
  ChoiceText text(pieces(), std::move(options));
  std::string out;
  for (const int32_t id : ids) {
    out += text.add(id);
    if (text.stopped_by()) return out;
  }
  return out + text.finish();
}

GenerationChunk chunk_of(const std::vector<int32_t>& ids,
                         FinishReason reason = FinishReason::kNone) {
  GenerationChunk chunk{.finish_reason = reason};
  for (const int32_t id : ids) chunk.tokens.push_back({.id = id, .logprob = -1});
  return chunk;
}

TEST(ChoiceText, IsWhatDecodingGives) {
  const std::string text = "Grüße, 世界! \xf0\x9f\x98\x80 {\"a\": 12}";
  EXPECT_EQ(text_of(ids_of(text), {}), text);
}

TEST(ChoiceText, EndsBeforeAStopStringAcrossTokens) {
  const std::string text = "one two three four";
  EXPECT_EQ(text_of(ids_of(text), {.stop = {"wo th"}}), "one t");
  EXPECT_EQ(text_of(ids_of(text), {.stop = {"wo th"}, .include_stop = true}), "one two th");
  EXPECT_EQ(text_of(ids_of(text), {.stop = {"five"}}), text);  // what looked like it comes out
}

TEST(ChoiceText, NothingEndsItBeforeMinTokens) {
  const std::vector<int32_t> ids = ids_of("a b a b a b");
  ASSERT_GE(ids.size(), 4u);
  EXPECT_EQ(text_of(ids, {.stop = {"b"}}), "a ");
  const std::string later = text_of(ids, {.stop = {"b"}, .min_tokens = 4});
  EXPECT_GT(later.size(), 3u);
  EXPECT_TRUE(std::string_view("a b a b a b").starts_with(later)) << later;
}

TEST(ChoiceText, LeavesOutTheTokenThatEndsIt) {
  const std::vector<int32_t> ids = ids_of("ab.");
  ChoiceText left_out(pieces(), {});
  ChoiceText included(pieces(), {.include_stop = true});
  EXPECT_EQ(left_out.add_end(ids.back()) + left_out.finish(), "");
  EXPECT_EQ(left_out.num_tokens(), 1);
  EXPECT_NE(included.add_end(ids.back()) + included.finish(), "");
}

TEST(Choice, TellsEachPieceOnce) {
  Choice choice(pieces(), {.keeps_tokens = true, .keeps_ids = true});
  const std::vector<int32_t> ids = ids_of("one two three");
  std::string text;
  std::vector<int32_t> told;
  for (size_t i = 0; i < ids.size(); ++i) {
    GenerationChunk chunk =
        chunk_of({ids[i]}, i + 1 == ids.size() ? FinishReason::kLength : FinishReason::kNone);
    EXPECT_FALSE(choice.take(chunk, {}));
    ASSERT_TRUE(choice.has_news());
    const AnswerChoice answer = choice.tell(3);
    EXPECT_EQ(answer.index, 3u);
    EXPECT_EQ(answer.tokens.size(), 1u);
    text += answer.text;
    told.insert(told.end(), answer.token_ids.begin(), answer.token_ids.end());
  }
  EXPECT_EQ(text, "one two three");
  EXPECT_EQ(told, ids);
  EXPECT_EQ(choice.finish_reason(), FinishReason::kLength);
  EXPECT_EQ(choice.mean_logprob(), -1);
}

TEST(Choice, SaysWhenTheEngineNeedNotGoOn) {
  Choice choice(pieces(), {.text = {.stop = {"two"}}});
  GenerationChunk chunk = chunk_of(ids_of("one two three"));
  EXPECT_TRUE(choice.take(chunk, {}));
  const AnswerChoice answer = choice.tell(0);
  EXPECT_EQ(answer.text, "one ");
  EXPECT_EQ(answer.finish_reason, FinishReason::kStop);
  EXPECT_EQ(std::get<std::string>(answer.stop_reason), "two");
  EXPECT_LT(choice.num_tokens(), static_cast<int64_t>(ids_of("one two three").size()));
}

TEST(Choice, NamesAStopTokenButNotTheModelsOwnEnd) {
  const int32_t end = ids_of(".").front();
  for (const bool asked : {true, false}) {
    Choice choice(pieces(), {});
    GenerationChunk chunk = chunk_of({ids_of("a").front(), end}, FinishReason::kStop);
    EXPECT_FALSE(choice.take(chunk, asked ? std::vector<int32_t>{end} : std::vector<int32_t>()));
    const AnswerChoice answer = choice.tell(0);
    EXPECT_EQ(answer.text, "a");
    EXPECT_EQ(std::holds_alternative<int32_t>(answer.stop_reason), asked);
    EXPECT_EQ(choice.num_tokens(), 2);
  }
}

TEST(Choice, WhatIsDrawnForThePromptAloneIsNotShown) {
  Choice choice(pieces(), {.keeps_tokens = true, .discards = true});
  choice.begin_with("prompt", {});
  GenerationChunk chunk = chunk_of(ids_of("a"), FinishReason::kStop);
  EXPECT_FALSE(choice.take(chunk, {}));
  const AnswerChoice answer = choice.tell(0);
  EXPECT_EQ(answer.text, "prompt");
  EXPECT_EQ(answer.finish_reason, FinishReason::kLength);
  EXPECT_EQ(choice.num_tokens(), 0);
  EXPECT_TRUE(answer.tokens.empty());
}

TEST(Choice, OffsetsCountCharactersBehindTheEcho) {
  Choice choice(pieces(), {.keeps_tokens = true});
  choice.begin_with("äb", {});
  GenerationChunk chunk = chunk_of(ids_of("one two"));
  choice.take(chunk, {});
  const AnswerChoice answer = choice.tell(0);
  ASSERT_FALSE(answer.tokens.empty());
  EXPECT_EQ(answer.tokens.front().text_offset, 2);
  int64_t offset = 2;
  for (const AnswerToken& token : answer.tokens) {
    EXPECT_EQ(token.text_offset, offset);
    offset += static_cast<int64_t>(pieces().text(token.token.id).size());  // ASCII
  }
}

}  // namespace
}  // namespace millrace
