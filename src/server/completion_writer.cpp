// text_completion, whole and in chunks.
#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"
#include "server/answer_pieces.h"

namespace millrace {

namespace {

class CompletionWriter : public AnswerWriter {
 public:
  using AnswerWriter::AnswerWriter;

  std::string opening(const AnswerChoice&) const override { return {}; }
  std::string chunk(const AnswerChoice& choice, const AnswerUsage* usage) const override;
  std::string whole(std::span<const AnswerChoice> choices, const AnswerUsage& usage) const override;

 private:
  std::string begin_chunk() const override { return begin("text_completion"); }
  void append_choice(std::string& out, const AnswerChoice& choice) const;
  void append_logprobs(std::string& out, const AnswerChoice& choice) const;
  void append_top(std::string& out, const AnswerToken& shown) const;
};

// {"text": logprob, ...}: the most likely, and the drawn one where it is none of them. Of two
// tokens that read the same the better one stands.
void CompletionWriter::append_top(std::string& out, const AnswerToken& shown) const {
  std::vector<std::pair<int32_t, float>> tokens = shown.token.top;
  tokens.resize(std::min(tokens.size(), static_cast<size_t>(*head_.logprobs)));
  if (std::ranges::none_of(tokens, [&](const auto& top) { return top.first == shown.token.id; }))
    tokens.emplace_back(shown.token.id, shown.token.logprob);
  std::vector<std::string> names;
  out += '{';
  for (const auto& [id, logprob] : tokens) {
    std::string name;
    append_token(name, id);
    if (std::ranges::find(names, name) != names.end()) continue;
    if (!names.empty()) out += ',';
    out += name + ':';
    append_logprob(out, logprob);
    names.push_back(std::move(name));
  }
  out += '}';
}

void CompletionWriter::append_logprobs(std::string& out, const AnswerChoice& choice) const {
  if (!head_.logprobs) {
    out += R"(,"logprobs":null)";
    return;
  }
  std::string tokens, logprobs, tops, offsets;
  for (const AnswerToken& shown : choice.tokens) {
    if (!tokens.empty()) {
      for (std::string* list : {&tokens, &logprobs, &tops, &offsets}) *list += ',';
    }
    append_token(tokens, shown.token.id);
    offsets += std::to_string(shown.text_offset);
    if (shown.has_logprob) {
      append_logprob(logprobs, shown.token.logprob);
      append_top(tops, shown);
    } else {
      logprobs += "null";
      tops += "null";
    }
  }
  out += R"(,"logprobs":{"tokens":[)" + tokens + R"(],"token_logprobs":[)" + logprobs +
         R"(],"top_logprobs":[)" + tops + R"(],"text_offset":[)" + offsets + "]}";
}

void CompletionWriter::append_choice(std::string& out, const AnswerChoice& choice) const {
  out += fmt::format(R"({{"index":{},"text":)", choice.index);
  append_json_string(out, choice.text);
  append_logprobs(out, choice);
  append_finish(out, choice);
  if (choice.prompt_token_ids) {
    out += R"(,"prompt_token_ids":)";
    append_ids(out, *choice.prompt_token_ids);
  }
  if (head_.return_token_ids) {
    out += R"(,"token_ids":)";
    append_ids(out, choice.token_ids);
  }
  if (choice.prompt_logprobs) {
    out += ',';
    append_prompt_logprobs(out, *choice.prompt_logprobs, *head_.pieces);
  }
  out += '}';
}

std::string CompletionWriter::chunk(const AnswerChoice& choice, const AnswerUsage* usage) const {
  std::string out = begin_chunk() + R"(,"choices":[)";
  append_choice(out, choice);
  out += ']';
  end_chunk(out, usage);
  return out;
}

std::string CompletionWriter::whole(std::span<const AnswerChoice> choices,
                                    const AnswerUsage& usage) const {
  std::string out = begin("text_completion") + R"(,"choices":[)";
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) out += ',';
    append_choice(out, choices[i]);
  }
  out += "],";
  append_usage(out, usage);
  return out + '}';
}

}  // namespace

std::unique_ptr<AnswerWriter> make_completion_writer(AnswerHead head) {
  head.id = "cmpl-" + head.id;
  return std::make_unique<CompletionWriter>(std::move(head));
}

}  // namespace millrace
