// Request line and header fields, RFC 9112 §3 and §5.
#include "http/request_head.h"

#include "base/error.h"

namespace millrace::http {

std::string write_request_head(std::string_view method, std::string_view target,
                               std::string_view host, uint16_t port, const Headers& headers,
                               size_t body_size) {
  std::string head = fmt::format("{} {} HTTP/1.1\r\n", method, target);
  if (!headers.find("host")) {
    const bool v6 = host.find(':') != std::string_view::npos;
    head += v6 ? fmt::format("host: [{}]:{}\r\n", host, port)
               : fmt::format("host: {}:{}\r\n", host, port);
  }
  for (const auto& [name, value] : headers) {
    CHECK((name + value).find_first_of("\r\n") == std::string::npos, "header {}", name);
    head += fmt::format("{}: {}\r\n", name, value);
  }
  if (body_size > 0 || method == "POST" || method == "PUT") {
    head += fmt::format("content-length: {}\r\n", body_size);
  }
  return head + "\r\n";
}

}  // namespace millrace::http
