// The two headers that Baseten's clients send.
#include "server/deadline.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "server/request_error.h"

namespace millrace {

namespace {

using Milliseconds = std::chrono::milliseconds;

// A header that holds a number of milliseconds.
std::optional<Milliseconds> milliseconds_of(const http::Request& request, const char* name) {
  const auto header = request.headers.find(name);
  if (!header) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(header->data(), header->data() + header->size(), value);
  if (error != std::errc() || end != header->data() + header->size() || value < 0) {
    throw RequestError(Refusal::kInvalid,
                       fmt::format("the header {} must be a number of milliseconds", name));
  }
  return Milliseconds(value);
}

}  // namespace

Clock::time_point deadline_of(const http::Request& request, int request_timeout_s) {
  Milliseconds left = std::chrono::seconds(request_timeout_s);
  if (const auto timeout = milliseconds_of(request, "request-timeout-ms"))
    left = std::min(left, *timeout);
  if (const auto deadline = milliseconds_of(request, "request-deadline-ms")) {
    const auto now = std::chrono::duration_cast<Milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    left = std::min(left, *deadline - now);
  }
  if (left <= Milliseconds(0))
    throw RequestError(Refusal::kTimeout, "the request's deadline has passed");
  return request.received_at + left;
}

}  // namespace millrace
