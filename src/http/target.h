// The request target (RFC 9112 §3.2): its path, decoded, and its query.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::http {

struct Target {
  std::string path;   // percent-decoded; valid UTF-8 without control characters
  std::string query;  // as sent, without the '?'
};

// Takes "/path?query", "http://host/path?query" and "*". Nothing where the target is malformed.
std::optional<Target> parse_target(std::string_view target);

}  // namespace millrace::http
