// The bytes in front of a response's body.
#pragma once

#include <string>

#include "http/message.h"

namespace millrace::http {

// Status line and headers with Content-Length of `response.body` (which HEAD leaves out later).
// The handler's own framing headers are dropped; bytes that would break a line become '?'.
std::string write_head(const Response& response, int request_version, bool keep_alive);

bool status_forbids_body(int status);  // 1xx, 204, 304

}  // namespace millrace::http
