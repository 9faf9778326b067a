// What a load reads from an answer: the tokens it cost, and the part that must not change.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace millrace {

// `usage.prompt_tokens` of an OpenAI body, or the header `x-compute-tokens` of TEI's routes.
// Reads the end of the body only: a load has no time to parse megabytes of vectors.
std::optional<int64_t> tokens_of(const http::Response& response);

// Vectors, scores or labels as canonical text: the array under "data", or the whole body where
// there is none. What a server says beside them (an id, the time) may differ from answer to answer.
// Throws Error{kCorrupt} when the body is no JSON.
std::string comparable_part(std::string_view body);

}  // namespace millrace
