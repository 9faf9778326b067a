// AnswerWriter: the JSON of an answer, whole or in chunks, in the form of one route.
// Sources: the types of OpenAI's clients; vLLM's protocol for what they lack.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/choice_text.h"

namespace millrace {

// What stands in every piece of an answer.
struct AnswerHead {
  std::string id;       // of the HTTP request, without the prefix of the route
  int64_t created = 0;  // s since the epoch
  std::string model;
  std::string fingerprint;
  std::string service_tier;         // empty: left out
  std::optional<int64_t> logprobs;  // of so many of the most likely; absent: none
  bool return_token_ids = false;
  bool return_tokens_as_token_ids = false;
  bool null_usage = false;  // chunks say that their usage comes later
  const TokenPieces* pieces = nullptr;
};

struct AnswerUsage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the cache
};

// A token as answers show it.
struct AnswerToken {
  GeneratedToken token;
  int64_t text_offset = 0;  // characters of the choice's text before it
  bool has_logprob = true;  // false: the first of a prompt
};

// What a choice has that was not told yet: all of it, or a chunk.
struct AnswerChoice {
  size_t index = 0;
  std::string text;
  std::span<const AnswerToken> tokens;  // for logprobs; an echoed prompt's come first
  std::span<const int32_t> token_ids;   // of the output
  FinishReason finish_reason = FinishReason::kNone;
  StopReason stop_reason;
  // In the whole answer, and in the first chunk; null: not asked for.
  const std::vector<int32_t>* prompt_token_ids = nullptr;
  const std::vector<AnswerToken>* prompt_logprobs = nullptr;
};

class AnswerWriter {
 public:
  explicit AnswerWriter(AnswerHead head) : head_(std::move(head)) {}
  virtual ~AnswerWriter() = default;
  AnswerWriter(const AnswerWriter&) = delete;
  AnswerWriter& operator=(const AnswerWriter&) = delete;

  // The chunk before a choice's first one; empty: this route has none.
  virtual std::string opening(const AnswerChoice& choice) const = 0;
  virtual std::string chunk(const AnswerChoice& choice, const AnswerUsage* usage) const = 0;
  virtual std::string whole(std::span<const AnswerChoice> choices,
                            const AnswerUsage& usage) const = 0;
  std::string usage_chunk(const AnswerUsage& usage) const;

 protected:
  // {"id":...,"object":...,"created":...,"model":...,"system_fingerprint":...
  std::string begin(std::string_view object) const;
  virtual std::string begin_chunk() const = 0;
  void append_token(std::string& out, int32_t id) const;  // as a string
  void end_chunk(std::string& out, const AnswerUsage* usage) const;

  AnswerHead head_;
};

std::unique_ptr<AnswerWriter> make_chat_writer(AnswerHead head);
std::unique_ptr<AnswerWriter> make_completion_writer(AnswerHead head);

}  // namespace millrace
