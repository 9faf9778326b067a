// What form an answer takes on the wire: MessagePack instead of JSON, compressed by zstd.
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"

namespace millrace {

// Whether a list such as Accept's names `token` (without case) with a weight above 0.
// Source: RFC 9110 §12.4.2, §12.5.
bool accepts(std::string_view list, std::string_view token);

// Turns a JSON answer of a model into what the request's Accept and Accept-Encoding ask for.
void apply_content_coding(const http::Request& request, http::Response& response);

}  // namespace millrace
