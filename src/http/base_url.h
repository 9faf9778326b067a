// The address of a server as people write it: http://host:port/prefix.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::http {

struct BaseUrl {
  std::string host;    // a name or an address; IPv6 without brackets
  uint16_t port = 80;  // as written, or HTTP's own
  std::string prefix;  // "" or "/a/b": begins with a slash, ends without one
};

// Takes http:// and nothing else: no user, query or fragment. Throws Error{kInvalidArgument,
// kUnsupported} with the remedy.
BaseUrl parse_base_url(std::string_view url);

}  // namespace millrace::http
