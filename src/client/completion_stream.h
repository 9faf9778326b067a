// Reads the answer of /v1/chat/completions or /v1/completions as it arrives, streamed or whole.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "http/message.h"
#include "http/sse.h"

namespace millrace {

// What one event adds.
struct CompletionPiece {
  std::string text;
  std::string reasoning;  // what a model thinks before it answers
};

class CompletionStream {
 public:
  using OnPiece = std::function<void(const CompletionPiece&)>;

  // `on_piece`: called for each event that adds text, on the thread that feeds.
  explicit CompletionStream(OnPiece on_piece) : on_piece_(std::move(on_piece)) {}

  void on_head(const http::Response& head);
  bool on_body(std::string_view piece);  // false once failure() is set
  void on_end();                         // the whole body was there

  // To hand to a client; refer to this.
  http::BodyHooks hooks();

  int status() const { return status_; }  // 0 before the head
  bool streamed() const { return streamed_; }
  // Why the answer is none: "an error in the stream", "no events", ...; empty while all is well.
  const std::string& failure() const { return failure_; }
  // What the server says of it: of an error status and of an error within a stream.
  const std::string& error_message() const { return error_message_; }
  const std::string& finish_reason() const { return finish_reason_; }  // of the first choice
  std::optional<int64_t> prompt_tokens() const { return prompt_tokens_; }
  std::optional<int64_t> completion_tokens() const { return completion_tokens_; }

 private:
  void read_event(const std::string& data);
  void read_object(std::string_view text, bool whole);
  void fail(std::string kind, std::string message = {});

  OnPiece on_piece_;
  http::SseParser parser_;
  std::string body_;  // of an answer that is no stream
  int status_ = 0;
  bool streamed_ = false;
  bool done_ = false;  // [DONE] has come
  std::string failure_;
  std::string error_message_;
  std::string finish_reason_;
  std::optional<int64_t> prompt_tokens_;
  std::optional<int64_t> completion_tokens_;
};

}  // namespace millrace
