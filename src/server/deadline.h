// When a request is given up.
#pragma once

#include "base/clock.h"
#include "http/message.h"

namespace millrace {

// The server's own limit, or what the client asks for where that is less: Request-Timeout-Ms from
// now, Request-Deadline-Ms since the epoch (Baseten's clients send both). Throws RequestError:
// kTimeout when it has passed, kInvalid.
Clock::time_point deadline_of(const http::Request& request, int request_timeout_s);

}  // namespace millrace
