// The request's head as a client writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/message.h"

namespace millrace::http {

// Adds Host and, where there is a body or the method expects one, Content-Length. An IPv6 address
// comes without brackets. Requires: names and values without line breaks.
std::string write_request_head(std::string_view method, std::string_view target,
                               std::string_view host, uint16_t port, const Headers& headers,
                               size_t body_size);

}  // namespace millrace::http
