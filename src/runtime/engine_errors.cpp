// The sentences.
#include "runtime/engine_errors.h"

#include "base/error.h"

namespace millrace {

std::exception_ptr unavailable_error(bool device_lost) {
  return std::make_exception_ptr(Error(ErrorCode::kUnavailable,
                                       device_lost
                                           ? "the GPU failed, and the server must be restarted"
                                           : "the server is shutting down",
                                       "try another replica"));
}

std::exception_ptr deadline_error() {
  return std::make_exception_ptr(Error(ErrorCode::kCancelled,
                                       "the request's deadline passed before it was computed",
                                       "allow more time, or send less at once"));
}

std::string current_exception_text() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

}  // namespace millrace
