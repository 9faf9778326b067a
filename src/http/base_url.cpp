// scheme "://" host [":" port] [path], RFC 3986 §3, less what a server's address has no use for.
#include "http/base_url.h"

#include <charconv>

#include "base/error.h"

namespace millrace::http {

namespace {

[[noreturn]] void refuse(std::string_view url, std::string_view why,
                         ErrorCode code = ErrorCode::kInvalidArgument) {
  throw Error(code, fmt::format("\"{}\" is no server's address: {}", url, why),
              "write it as http://host:port, for example http://127.0.0.1:8000");
}

uint16_t parse_port(std::string_view url, std::string_view text) {
  uint16_t port = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (ec != std::errc{} || end != text.data() + text.size() || port == 0) {
    refuse(url, "the port is a number from 1 to 65535");
  }
  return port;
}

}  // namespace

BaseUrl parse_base_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  if (url.starts_with("https://")) {
    refuse(url, "https is not supported here", ErrorCode::kUnsupported);
  }
  if (!url.starts_with(kScheme)) refuse(url, "it does not begin with http://");
  for (unsigned char c : url) {
    if (c <= ' ' || c >= 0x7f) refuse(url, "it has spaces, control or non-ASCII characters");
  }
  if (url.find_first_of("?#@\\\"<>") != std::string_view::npos) {
    refuse(url, "it has a user, query, fragment or quotes");
  }
  std::string_view rest = url.substr(kScheme.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);

  BaseUrl out;
  out.prefix = path;
  std::string_view after = authority;
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) refuse(url, "the bracket of the address is not closed");
    out.host = authority.substr(1, close - 1);
    after = authority.substr(close + 1);
    if (!after.empty() && after[0] != ':') refuse(url, "a port follows a bracket");
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    out.host = authority.substr(0, colon);
    after = authority.substr(colon);
  }
  if (!after.empty()) out.port = parse_port(url, after.substr(1));
  if (out.host.empty()) refuse(url, "the host is missing");
  return out;
}

}  // namespace millrace::http
