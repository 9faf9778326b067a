// Keys and hosts.
#include "server/access.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/strings.h"

namespace millrace {

namespace {

constexpr size_t kMaxKeyBytes = 4096;

std::vector<std::string> read_keys(const std::string& path) {
  std::vector<std::string> keys;
  const std::string text = read_file(path);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trim(std::string_view(text).substr(begin, end - begin));
    if (!line.empty() && !line.starts_with('#')) keys.emplace_back(line);
    begin = end + 1;
  }
  if (keys.empty()) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} holds no key", path),
                "write one key a line");
  }
  return keys;
}

// What follows `scheme` in an Authorization header, whose schemes have no case (RFC 9110 §11.1).
std::optional<std::string_view> credentials(std::string_view header, std::string_view scheme) {
  if (header.size() <= scheme.size() || header[scheme.size()] != ' ') return std::nullopt;
  if (!http::equals_ignoring_case(header.substr(0, scheme.size()), scheme)) return std::nullopt;
  return trim(header.substr(scheme.size()));
}

std::optional<std::string_view> presented_key(const http::Request& request) {
  if (const auto header = request.headers.find("authorization")) {
    for (const std::string_view scheme : {"Bearer", "Api-Key"}) {
      if (const auto key = credentials(*header, scheme)) return key;
    }
  }
  return request.headers.find("x-api-key");
}

// "[::1]:8000" to "::1".
std::string without_port(std::string_view host) {
  if (host.starts_with('[')) return std::string(host.substr(1, host.find(']') - 1));
  return std::string(host.substr(0, host.find(':')));
}

}  // namespace

bool is_loopback(const std::string& host) {
  return http::equals_ignoring_case(host, "localhost") || host == "::1" || host.starts_with("127.");
}

Access::Access(const AccessConfig& config, const std::string& host) {
  std::vector<std::string> keys;
  if (!config.api_key_file.empty()) keys = read_keys(config.api_key_file);
  if (!config.api_key.empty()) keys.push_back(config.api_key);
  for (const std::string& key : keys) digests_.push_back(sha256_hex(key));
  if (has_keys()) return;
  local_only_ = is_loopback(host);
  if (local_only_ || config.allow_unauthenticated) return;
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("host {} can be reached from other machines, and no key is set", host),
              "set MILLRACE_API_KEY or --api-key-file, or say --allow-unauthenticated where "
              "something in front checks who asks");
}

bool Access::authenticated(const http::Request& request) const {
  if (!has_keys()) return true;
  const auto key = presented_key(request);
  if (!key || key->size() > kMaxKeyBytes) return false;
  const std::string digest = sha256_hex(*key);
  bool found = false;
  for (const std::string& known : digests_)
    found |= CRYPTO_memcmp(known.data(), digest.data(), digest.size()) == 0;
  return found;
}

std::string Access::tenant(const http::Request& request) const {
  const auto key = presented_key(request);
  return has_keys() && key ? sha256_hex(*key) : std::string();
}

std::optional<RequestError> Access::refusal(const http::Request& head) const {
  if (has_keys()) {
    if (authenticated(head)) return std::nullopt;
    return RequestError(Refusal::kUnauthenticated,
                        presented_key(head)
                            ? "the API key is not one of this server's"
                            : "an API key is needed: send \"Authorization: Bearer KEY\"",
                        "", "invalid_api_key");
  }
  if (!local_only_) return std::nullopt;
  const auto host = head.headers.find("host");  // absent in HTTP/1.0, which no web page speaks
  if (!host || is_loopback(without_port(*host))) return std::nullopt;
  return RequestError(Refusal::kForbidden,
                      fmt::format("this server answers to this machine's own names only, not to "
                                  "\"{}\"; start it with an API key to allow others",
                                  host->substr(0, 100)));
}

}  // namespace millrace
