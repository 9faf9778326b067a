// chat.completion and chat.completion.chunk.
#include <fmt/format.h>

#include <utility>

#include "base/strings.h"
#include "server/answer_pieces.h"

namespace millrace {

namespace {

class ChatWriter : public AnswerWriter {
 public:
  using AnswerWriter::AnswerWriter;

  std::string opening(const AnswerChoice& choice) const override;
  std::string chunk(const AnswerChoice& choice, const AnswerUsage* usage) const override;
  std::string whole(std::span<const AnswerChoice> choices, const AnswerUsage& usage) const override;

 private:
  std::string begin_chunk() const override { return begin("chat.completion.chunk"); }
  void append_entry(std::string& out, int32_t id, float logprob) const;
  void append_logprobs(std::string& out, const AnswerChoice& choice) const;
  void end_choice(std::string& out, const AnswerChoice& choice) const;
};

// "token":...,"logprob":...,"bytes":[...]: bytes, since a token may be a part of a character.
void ChatWriter::append_entry(std::string& out, int32_t id, float logprob) const {
  out += R"("token":)";
  append_token(out, id);
  out += R"(,"logprob":)";
  append_logprob(out, logprob);
  out += R"(,"bytes":[)";
  for (bool first = true; const char byte : head_.pieces->bytes(id)) {
    if (!std::exchange(first, false)) out += ',';
    out += std::to_string(static_cast<unsigned char>(byte));
  }
  out += ']';
}

void ChatWriter::append_logprobs(std::string& out, const AnswerChoice& choice) const {
  if (!head_.logprobs || choice.tokens.empty()) {
    out += R"(,"logprobs":null)";
    return;
  }
  out += R"(,"logprobs":{"content":[)";
  for (bool first = true; const AnswerToken& shown : choice.tokens) {
    if (!std::exchange(first, false)) out += ',';
    out += '{';
    append_entry(out, shown.token.id, shown.token.logprob);
    out += R"(,"top_logprobs":[)";
    for (size_t i = 0; i < shown.token.top.size(); ++i) {
      out += i > 0 ? ",{" : "{";
      append_entry(out, shown.token.top[i].first, shown.token.top[i].second);
      out += '}';
    }
    out += "]}";
  }
  out += R"(],"refusal":null})";
}

void ChatWriter::end_choice(std::string& out, const AnswerChoice& choice) const {
  append_logprobs(out, choice);
  append_finish(out, choice);
  if (head_.return_token_ids) {
    out += R"(,"token_ids":)";
    append_ids(out, choice.token_ids);
  }
  out += '}';
}

std::string ChatWriter::opening(const AnswerChoice& choice) const {
  std::string out = begin_chunk();
  if (choice.prompt_token_ids) {
    out += R"(,"prompt_token_ids":)";
    append_ids(out, *choice.prompt_token_ids);
  }
  out += fmt::format(
      R"(,"choices":[{{"index":{},"delta":{{"role":"assistant","content":"","refusal":null}},)"
      R"("logprobs":null,"finish_reason":null}}])",
      choice.index);
  end_chunk(out, nullptr);
  return out;
}

std::string ChatWriter::chunk(const AnswerChoice& choice, const AnswerUsage* usage) const {
  std::string out = begin_chunk();
  out += fmt::format(R"(,"choices":[{{"index":{},"delta":{{)", choice.index);
  if (!choice.text.empty()) {
    out += R"("content":)";
    append_json_string(out, choice.text);
  }
  out += '}';
  end_choice(out, choice);
  out += ']';
  end_chunk(out, usage);
  return out;
}

std::string ChatWriter::whole(std::span<const AnswerChoice> choices,
                              const AnswerUsage& usage) const {
  std::string out = begin("chat.completion");
  out += R"(,"choices":[)";
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out += ',';
    out +=
        fmt::format(R"({{"index":{},"message":{{"role":"assistant","content":)", choices[i].index);
    append_json_string(out, choices[i].text);
    out += R"(,"refusal":null,"annotations":[]})";
    end_choice(out, choices[i]);
  }
  out += "],";
  append_usage(out, usage);
  if (!choices.empty() && choices[0].prompt_token_ids) {
    out += R"(,"prompt_token_ids":)";
    append_ids(out, *choices[0].prompt_token_ids);
  }
  if (!choices.empty() && choices[0].prompt_logprobs) {
    out += ',';
    append_prompt_logprobs(out, *choices[0].prompt_logprobs, *head_.pieces);
  }
  return out + '}';
}

}  // namespace

std::unique_ptr<AnswerWriter> make_chat_writer(AnswerHead head) {
  head.id = "chatcmpl-" + head.id;
  return std::make_unique<ChatWriter>(std::move(head));
}

}  // namespace millrace
