// What the writers write is JSON of the stated form, and chunks say together what the whole says.
#include "server/answer_writer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "server/demo_tokenizer.h"

namespace millrace {
namespace {

AnswerHead head(std::optional<int64_t> logprobs = {}) {
  static const TokenPieces pieces(demo_tokenizer());
  return {.id = "7",
          .created = 1,
          .model = "a \"model\"",
          .fingerprint = "fp_1",
          .logprobs = logprobs,
          .pieces = &pieces};
}

json::value parse(const std::string& text) {
  return json::parse(text, "the answer");
}

int32_t id_of(std::string_view text) {
  return demo_tokenizer().encode(text, {.add_special_tokens = false}).token_ids.front();
}

constexpr AnswerUsage kUsage{.prompt_tokens = 5, .completion_tokens = 7, .cached_tokens = 2};

TEST(ChatWriter, WritesTheWhole) {
  const auto writer = make_chat_writer(head());
  const std::vector<AnswerChoice> choices = {
      {.index = 0, .text = "a\n\"b\"", .finish_reason = FinishReason::kStop},
      {.index = 1, .finish_reason = FinishReason::kLength, .stop_reason = StopReason("x")}};
  const json::value answer = parse(writer->whole(choices, kUsage));
  EXPECT_EQ(answer.at("id"), "chatcmpl-7");
  EXPECT_EQ(answer.at("object"), "chat.completion");
  EXPECT_EQ(answer.at("model"), "a \"model\"");
  EXPECT_EQ(answer.at("system_fingerprint"), "fp_1");
  EXPECT_FALSE(answer.as_object().contains("service_tier"));
  const json::value& first = answer.at("choices").at(0);
  EXPECT_EQ(first.at("message").at("role"), "assistant");
  EXPECT_EQ(first.at("message").at("content"), "a\n\"b\"");
  EXPECT_TRUE(first.at("message").at("refusal").is_null());
  EXPECT_TRUE(first.at("logprobs").is_null());
  EXPECT_EQ(first.at("finish_reason"), "stop");
  EXPECT_TRUE(first.at("stop_reason").is_null());
  EXPECT_EQ(answer.at("choices").at(1).at("finish_reason"), "length");
  EXPECT_EQ(answer.at("choices").at(1).at("stop_reason"), "x");
  const json::value& usage = answer.at("usage");
  EXPECT_EQ(usage.at("prompt_tokens"), 5);
  EXPECT_EQ(usage.at("completion_tokens"), 7);
  EXPECT_EQ(usage.at("total_tokens"), 12);
  EXPECT_EQ(usage.at("prompt_tokens_details").at("cached_tokens"), 2);
}

TEST(ChatWriter, LogprobsHaveBytesOfPartsOfCharacters) {
  const auto writer = make_chat_writer(head(1));
  const int32_t id = id_of("€");  // of several tokens: this is the first byte or two
  const std::vector<AnswerToken> tokens = {
      {.token = {.id = id, .logprob = -0.5f, .top = {{id_of("a"), -0.25f}}}},
      {.token = {.id = id_of("a"), .logprob = -INFINITY, .top = {{id, -INFINITY}}}}};
  const std::vector<AnswerChoice> choices = {
      {.text = "x", .tokens = tokens, .finish_reason = FinishReason::kLength}};
  const json::value answer = parse(writer->whole(choices, kUsage));
  const json::value& content = answer.at("choices").at(0).at("logprobs").at("content");
  EXPECT_EQ(content.at(0).at("bytes").at(0), 0xe2);
  EXPECT_EQ(content.at(0).at("logprob"), -0.5);
  EXPECT_EQ(content.at(0).at("top_logprobs").at(0).at("token"), "a");
  EXPECT_EQ(content.at(0).at("top_logprobs").at(0).at("bytes").at(0), 'a');
  EXPECT_EQ(content.at(1).at("logprob"), -9999);
}

TEST(ChatWriter, ChunksBeginWithTheRole) {
  AnswerHead streamed = head();
  streamed.null_usage = true;
  streamed.service_tier = "flex";
  const auto writer = make_chat_writer(streamed);
  const json::value opening = parse(writer->opening({.index = 2}));
  EXPECT_EQ(opening.at("object"), "chat.completion.chunk");
  EXPECT_EQ(opening.at("service_tier"), "flex");
  EXPECT_EQ(opening.at("choices").at(0).at("index"), 2);
  EXPECT_EQ(opening.at("choices").at(0).at("delta").at("role"), "assistant");
  EXPECT_EQ(opening.at("choices").at(0).at("delta").at("content"), "");
  EXPECT_TRUE(opening.at("usage").is_null());
  const json::value chunk = parse(writer->chunk({.index = 2, .text = "a"}, nullptr));
  EXPECT_EQ(chunk.at("choices").at(0).at("delta"), (json::object{{"content", "a"}}));
  EXPECT_TRUE(chunk.at("choices").at(0).at("finish_reason").is_null());
  const json::value last =
      parse(writer->chunk({.index = 2, .finish_reason = FinishReason::kStop}, &kUsage));
  EXPECT_EQ(last.at("choices").at(0).at("delta"), json::object());
  EXPECT_EQ(last.at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_EQ(last.at("usage").at("total_tokens"), 12);
  const json::value usage = parse(writer->usage_chunk(kUsage));
  EXPECT_TRUE(usage.at("choices").as_array().empty());
  EXPECT_EQ(usage.at("usage").at("total_tokens"), 12);
}

TEST(CompletionWriter, WritesTheWhole) {
  const auto writer = make_completion_writer(head(1));
  const int32_t a = id_of("a"), b = id_of("b"), c = id_of("c");
  const std::vector<AnswerToken> tokens = {
      {.token = {.id = a}, .text_offset = 0, .has_logprob = false},
      {.token = {.id = b, .logprob = -0.5f, .top = {{c, -0.25f}, {a, -4}}}, .text_offset = 1}};
  const std::vector<AnswerChoice> choices = {
      {.text = "ab", .tokens = tokens, .finish_reason = FinishReason::kLength}};
  const json::value answer = parse(writer->whole(choices, kUsage));
  EXPECT_EQ(answer.at("id"), "cmpl-7");
  EXPECT_EQ(answer.at("object"), "text_completion");
  const json::value& choice = answer.at("choices").at(0);
  EXPECT_EQ(choice.at("text"), "ab");
  const json::value& logprobs = choice.at("logprobs");
  EXPECT_EQ(logprobs.at("tokens"), (json::array{"a", "b"}));
  EXPECT_EQ(logprobs.at("token_logprobs"), (json::array{nullptr, -0.5}));
  EXPECT_EQ(logprobs.at("text_offset"), (json::array{0, 1}));
  EXPECT_TRUE(logprobs.at("top_logprobs").at(0).is_null());
  // One of the most likely, and the drawn one, which is none of them.
  EXPECT_EQ(logprobs.at("top_logprobs").at(1), (json::object{{"c", -0.25}, {"b", -0.5}}));
}

TEST(CompletionWriter, ShowsIdsAndLogprobsOfThePromptWhereAsked) {
  AnswerHead with_ids = head(0);
  with_ids.return_token_ids = true;
  with_ids.return_tokens_as_token_ids = true;
  const auto writer = make_completion_writer(with_ids);
  const std::vector<int32_t> prompt = {3, 4};
  const std::vector<int32_t> ids = {5};
  const std::vector<AnswerToken> tokens = {{.token = {.id = 5, .logprob = -1}}};
  const std::vector<AnswerToken> prompt_logprobs = {
      {.token = {.id = 3}, .has_logprob = false},
      {.token = {.id = 4, .logprob = -2, .rank = 9, .top = {{6, -1}, {4, -2}}}}};
  const AnswerChoice choice{.text = "x",
                            .tokens = tokens,
                            .token_ids = ids,
                            .finish_reason = FinishReason::kStop,
                            .stop_reason = int32_t{5},
                            .prompt_token_ids = &prompt,
                            .prompt_logprobs = &prompt_logprobs};
  const json::value answer = parse(writer->whole(std::span(&choice, 1), kUsage));
  const json::value& written = answer.at("choices").at(0);
  EXPECT_EQ(written.at("prompt_token_ids"), (json::array{3, 4}));
  EXPECT_EQ(written.at("token_ids"), (json::array{5}));
  EXPECT_EQ(written.at("stop_reason"), 5);
  EXPECT_EQ(written.at("logprobs").at("tokens").at(0), "token_id:5");
  EXPECT_TRUE(written.at("prompt_logprobs").at(0).is_null());
  EXPECT_EQ(written.at("prompt_logprobs").at(1).at("4").at("rank"), 9);
  EXPECT_EQ(written.at("prompt_logprobs").at(1).at("6").at("rank"), 1);
  EXPECT_EQ(written.at("prompt_logprobs").at(1).as_object().size(), 2u);
}

}  // namespace
}  // namespace millrace
