// What both routes write alike.
#include "server/answer_writer.h"

#include <fmt/format.h>

#include "base/strings.h"
#include "server/answer_pieces.h"

namespace millrace {

void append_finish(std::string& out, const AnswerChoice& choice) {
  out += R"(,"finish_reason":)";
  if (choice.finish_reason == FinishReason::kNone) {
    out += R"(null,"stop_reason":null)";
    return;
  }
  append_json_string(out, choice.finish_reason == FinishReason::kLength ? "length" : "stop");
  out += R"(,"stop_reason":)";
  if (const auto* text = std::get_if<std::string>(&choice.stop_reason)) {
    append_json_string(out, *text);
  } else if (const auto* token = std::get_if<int32_t>(&choice.stop_reason)) {
    out += std::to_string(*token);
  } else {
    out += "null";
  }
}

void append_ids(std::string& out, std::span<const int32_t> ids) {
  out += '[';
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ',';
    out += std::to_string(ids[i]);
  }
  out += ']';
}

void append_logprob(std::string& out, float logprob) {
  // JSON has no infinity; what cannot be drawn has OpenAI's number for it.
  append_float(out, std::isfinite(logprob) ? logprob : -9999.0f);
}

void append_usage(std::string& out, const AnswerUsage& usage) {
  out += fmt::format(
      R"("usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
      R"("prompt_tokens_details":{{"cached_tokens":{}}},)"
      R"("completion_tokens_details":{{"reasoning_tokens":0,"accepted_prediction_tokens":0,)"
      R"("rejected_prediction_tokens":0}}}})",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens,
      usage.cached_tokens);
}

void append_prompt_logprobs(std::string& out, const std::vector<AnswerToken>& tokens,
                            const TokenPieces& pieces) {
  out += R"("prompt_logprobs":[)";
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += ',';
    const GeneratedToken& token = tokens[i].token;
    if (!tokens[i].has_logprob) {
      out += "null";
      continue;
    }
    const auto append = [&](int32_t id, float logprob, size_t rank) {
      out += fmt::format(R"("{}":{{"logprob":)", id);
      append_logprob(out, logprob);
      out += fmt::format(R"(,"rank":{},"decoded_token":)", rank);
      append_json_string(out, pieces.text(id));
      out += '}';
    };
    out += '{';
    append(token.id, token.logprob, static_cast<size_t>(token.rank));
    for (size_t rank = 0; rank < token.top.size(); ++rank) {
      if (token.top[rank].first == token.id) continue;
      out += ',';
      append(token.top[rank].first, token.top[rank].second, rank + 1);
    }
    out += '}';
  }
  out += ']';
}

std::string AnswerWriter::begin(std::string_view object) const {
  std::string out = R"({"id":)";
  append_json_string(out, head_.id);
  out += fmt::format(R"(,"object":"{}","created":{},"model":)", object, head_.created);
  append_json_string(out, head_.model);
  out += fmt::format(R"(,"system_fingerprint":"{}")", head_.fingerprint);
  if (!head_.service_tier.empty())
    out += fmt::format(R"(,"service_tier":{})", to_json_string(head_.service_tier));
  return out;
}

void AnswerWriter::append_token(std::string& out, int32_t id) const {
  append_json_string(out, head_.return_tokens_as_token_ids ? fmt::format("token_id:{}", id)
                                                           : head_.pieces->text(id));
}

void AnswerWriter::end_chunk(std::string& out, const AnswerUsage* usage) const {
  if (usage) {
    out += ',';
    append_usage(out, *usage);
  } else if (head_.null_usage) {
    out += R"(,"usage":null)";
  }
  out += '}';
}

std::string AnswerWriter::usage_chunk(const AnswerUsage& usage) const {
  std::string out = begin_chunk() + R"(,"choices":[],)";
  append_usage(out, usage);
  return out + '}';
}

}  // namespace millrace
