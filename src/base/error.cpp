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

Error::Error(ErrorCode code, std::string message, std::string hint)
    : std::runtime_error(hint.empty() ? message : message + "; " + hint),
      code_(code),
      message_(std::move(message)),
      hint_(std::move(hint)) {}

void throw_internal_error(const char* file, int line, const char* condition,
                          const std::string& message) {
  throw InternalError(fmt::format("{}:{}: CHECK({}) failed{}{}", file, line, condition,
                                  message.empty() ? "" : ": ", message));
}

}  // namespace millrace
