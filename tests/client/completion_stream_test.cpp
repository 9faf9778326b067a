// Answers of servers, good and bad, whole and in pieces.
#include "client/completion_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "http/sse.h"

namespace millrace {
namespace {

using http::sse_event;

struct Seen {
  std::string text;
  std::string reasoning;
  int num_pieces = 0;
};

struct Answer {
  Seen seen;
  CompletionStream stream{[this](const CompletionPiece& piece) {
    seen.text += piece.text;
    seen.reasoning += piece.reasoning;
    ++seen.num_pieces;
  }};

  Answer(std::string_view type, std::string_view body, int status = 200, size_t piece = 7) {
    http::Response head{.status = status};
    head.headers.add("content-type", std::string(type));
    stream.on_head(head);
    while (!body.empty()) {
      const std::string_view now = body.substr(0, piece);
      body.remove_prefix(now.size());
      if (!stream.on_body(now)) return;
    }
    stream.on_end();
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
};

const std::string kSse = "text/event-stream; charset=utf-8";
const std::string kJson = "application/json";

TEST(CompletionStream, ReadsAChatAsItStreams) {
  const std::string body =
      sse_event(R"({"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]})") +
      ": ping\n\n" + sse_event(R"({"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]})") +
      sse_event(R"({"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]})") +
      sse_event(R"({"choices":[{"index":0,"delta":{"content":"lo \u00e9"}}],"usage":null})") +
      sse_event(R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})") +
      sse_event(R"({"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":4}})") +
      sse_event("[DONE]");
  for (const size_t piece : {size_t{1}, size_t{7}, body.size()}) {
    const Answer answer(kSse, body, 200, piece);
    EXPECT_EQ(answer.stream.failure(), "");
    EXPECT_TRUE(answer.stream.streamed());
    EXPECT_EQ(answer.seen.text, "Hello \xC3\xA9");
    EXPECT_EQ(answer.seen.reasoning, "hm");
    EXPECT_EQ(answer.seen.num_pieces, 3);  // the first delta and the last add nothing
    EXPECT_EQ(answer.stream.finish_reason(), "stop");
    EXPECT_EQ(answer.stream.prompt_tokens(), 5);
    EXPECT_EQ(answer.stream.completion_tokens(), 4);
  }
}

TEST(CompletionStream, ReadsCompletionsAndWholeAnswers) {
  const Answer text(kSse, sse_event(R"({"choices":[{"text":"a"}]})") +
                              sse_event(R"({"choices":[{"text":"b","finish_reason":"length"}]})") +
                              sse_event("[DONE]"));
  EXPECT_EQ(text.seen.text, "ab");
  EXPECT_EQ(text.stream.finish_reason(), "length");
  EXPECT_FALSE(text.stream.completion_tokens());

  const Answer chat(kJson, R"({"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}],
                               "usage":{"prompt_tokens":1,"completion_tokens":2}})");
  EXPECT_FALSE(chat.stream.streamed());
  EXPECT_EQ(chat.seen.text, "whole");
  EXPECT_EQ(chat.stream.completion_tokens(), 2);
  EXPECT_EQ(Answer(kJson, R"({"choices":[{"text":"plain"}]})").seen.text, "plain");
}

TEST(CompletionStream, SaysWhyAnAnswerIsNone) {
  const std::string good = sse_event(R"({"choices":[{"text":"a"}]})");
  const auto failure = [](const std::string& type, const std::string& body) {
    return Answer(type, body).stream.failure();
  };
  EXPECT_EQ(failure(kSse, good), "a stream without its end");
  EXPECT_EQ(failure(kSse, ""), "a stream without its end");
  EXPECT_EQ(failure(kSse, sse_event("{") + good), "no JSON");
  EXPECT_EQ(failure(kSse, sse_event("[]")), "no JSON object");
  EXPECT_EQ(failure(kSse, sse_event("{}")), "no choices");
  EXPECT_EQ(failure(kJson, "<html>"), "no JSON");
  EXPECT_EQ(failure(kJson, R"({"choices":[1]})"), "no choices");
  const Answer broken(kSse, good + sse_event(R"({"error":{"message":"out of luck"}})") + good);
  EXPECT_EQ(broken.stream.failure(), "an error in the stream");
  EXPECT_EQ(broken.stream.error_message(), "out of luck");
  EXPECT_EQ(broken.seen.text, "a");
  // What comes behind the end is nobody's.
  EXPECT_EQ(failure(kSse, sse_event("[DONE]") + sse_event("nonsense")), "");
}

TEST(CompletionStream, KeepsWhatAnErrorStatusSays) {
  const auto message = [](const std::string& body) {
    const Answer answer(kJson, body, 404);
    EXPECT_EQ(answer.stream.failure(), "");
    EXPECT_EQ(answer.stream.status(), 404);
    return answer.stream.error_message();
  };
  EXPECT_EQ(message(R"({"error":{"message":"no such model","code":"model_not_found"}})"),
            "no such model");
  EXPECT_EQ(message(R"({"error":"flat"})"), "flat");
  EXPECT_EQ(message(R"({"message":"other"})"), "other");
  EXPECT_EQ(message("<html>"), "");
}

}  // namespace
}  // namespace millrace
