// Pieces of JSON that answers of both generation routes have.
#pragma once

#include <cmath>

#include "server/answer_writer.h"
#include "server/json_writer.h"

namespace millrace {

void append_finish(std::string& out, const AnswerChoice& choice);  // ,"finish_reason":...
void append_ids(std::string& out, std::span<const int32_t> ids);
void append_logprob(std::string& out, float logprob);
void append_usage(std::string& out, const AnswerUsage& usage);  // "usage":{...}
void append_prompt_logprobs(std::string& out, const std::vector<AnswerToken>& tokens,
                            const TokenPieces& pieces);  // "prompt_logprobs":[...]

}  // namespace millrace
