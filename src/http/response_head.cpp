// Status line and headers as one string.
#include "http/response_head.h"

#include <fmt/format.h>

#include <iterator>

namespace millrace::http {

namespace {

bool is_framing(std::string_view name) {
  return equals_ignoring_case(name, "content-length") || equals_ignoring_case(name, "connection") ||
         equals_ignoring_case(name, "transfer-encoding") ||
         equals_ignoring_case(name, "keep-alive");
}

// What came from a request may end up in a header; a line break there would start another header.
void append_without_controls(std::string& out, std::string_view text) {
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += (byte < 0x20 && c != '\t') || byte == 0x7f ? '?' : c;
  }
}

}  // namespace

bool status_forbids_body(int status) {
  return status < 200 || status == 204 || status == 304;
}

std::string write_head(const Response& response, int request_version, bool keep_alive,
                       BodyFraming framing) {
  std::string out;
  out.reserve(256);
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status,
                 status_text(response.status));
  for (const auto& [name, value] : response.headers) {
    if (is_framing(name)) continue;
    append_without_controls(out, name);
    out += ": ";
    append_without_controls(out, value);
    out += "\r\n";
  }
  if (status_forbids_body(response.status)) {
    // no framing at all
  } else if (framing == BodyFraming::kChunked) {
    out += "transfer-encoding: chunked\r\n";
  } else if (framing == BodyFraming::kLength) {
    fmt::format_to(std::back_inserter(out), "content-length: {}\r\n", response.body.size());
  }
  if (!keep_alive) {
    out += "connection: close\r\n";
  } else if (request_version < 11) {
    out += "connection: keep-alive\r\n";
  }
  out += "\r\n";
  return out;
}

}  // namespace millrace::http
