// Reading answers.
#include "load/answer.h"

#include <charconv>

#include "base/json.h"

namespace millrace {

namespace {

std::optional<int64_t> leading_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc{} && value >= 0 ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<int64_t> tokens_of(const http::Response& response) {
  constexpr size_t kTail = 4096;
  constexpr std::string_view kKey = "\"prompt_tokens\"";
  if (const auto header = response.headers.find("x-compute-tokens"))
    return leading_integer(*header);
  std::string_view tail = response.body;
  if (tail.size() > kTail) tail.remove_prefix(tail.size() - kTail);
  const size_t key = tail.rfind(kKey);
  if (key == std::string_view::npos) return std::nullopt;
  tail.remove_prefix(key + kKey.size());
  const size_t digit = tail.find_first_not_of(" \t\r\n:");
  if (digit == std::string_view::npos) return std::nullopt;
  return leading_integer(tail.substr(digit));
}

std::string comparable_part(std::string_view body) {
  const json::value parsed = json::parse(body, "the answer");
  const json::object* object = parsed.if_object();
  const json::value* data = object ? object->if_contains("data") : nullptr;
  return json::to_text(data ? *data : parsed);
}

}  // namespace millrace
