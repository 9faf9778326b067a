// The bytes in front of a response's body.
#pragma once

#include <string>

#include "http/message.h"

namespace millrace::http {

// How the end of a body is told (RFC 9112 §6.3).
enum class BodyFraming { kLength, kChunked, kUntilClose };

// Status line and headers; with kLength Content-Length of `response.body` (which HEAD leaves out
// later). The handler's own framing headers are dropped; bytes that would break a line become '?'.
std::string write_head(const Response& response, int request_version, bool keep_alive,
                       BodyFraming framing = BodyFraming::kLength);

bool status_forbids_body(int status);  // 1xx, 204, 304

}  // namespace millrace::http
