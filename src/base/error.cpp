// Error texts and the throwing half of CHECK.
#include "base/error.h"

#include <utility>

namespace millrace {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return "invalid_argument";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kOverloaded: return "overloaded";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kCancelled: return "cancelled";
  }
  return "unknown";
}

namespace {

// Texts quote names from foreign files; on a terminal and in a log they must stay plain text.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool control =
        (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    out += control ? fmt::format("\\x{:02x}", c) : std::string(1, c);
  }
  return out;
}

}  // namespace

Error::Error(ErrorCode code, const std::string& message, std::string hint)
    : std::runtime_error(printable(hint.empty() ? message : message + "; " + hint)),
      code_(code),
      message_(printable(message)),
      hint_(std::move(hint)) {}

void throw_internal_error(const char* file, int line, const char* condition,
                          const std::string& message) {
  throw InternalError(fmt::format("{}:{}: CHECK({}) failed{}{}", file, line, condition,
                                  message.empty() ? "" : ": ", message));
}

}  // namespace millrace
