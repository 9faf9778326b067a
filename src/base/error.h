// Errors: `Error` is the user's to fix, `InternalError` (through CHECK) is our bug.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace millrace {

// What kind of thing went wrong. Servers map it to a status, the command line to an exit code.
enum class ErrorCode {
  kInvalidArgument,  // a value, a field, a request that breaks a stated rule
  kNotFound,         // a file, a tensor, a model that is not there
  kUnsupported,      // understood, but not something this program does
  kCorrupt,          // bytes that do not follow their format
  kIo,               // the operating system refused
  kOverloaded,       // a stated limit on work in flight is reached
  kUnavailable,      // shutting down, or not healthy
  kCancelled,        // the client went away or the deadline passed
};

std::string_view to_string(ErrorCode code);

// An error with a remedy. `message` says what, where and the limit; `hint` says what to do.
// Control characters in them are shown as \xNN, newlines and tabs excepted.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message, std::string hint = {});

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }  // may be empty

 private:
  ErrorCode code_;
  std::string message_;
  std::string hint_;
};

// A broken assumption inside Millrace; carries the source location in its text.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void throw_internal_error(const char* file, int line, const char* condition,
                                       const std::string& message);

}  // namespace millrace

// CHECK(condition) or CHECK(condition, "format {}", value): throws InternalError when false.
#define CHECK(condition, ...)                                                \
  do {                                                                       \
    if (!(condition)) [[unlikely]] {                                         \
      ::millrace::throw_internal_error(__FILE__, __LINE__, #condition,       \
                                       ::millrace::check_text(__VA_ARGS__)); \
    }                                                                        \
  } while (false)

namespace millrace {

inline std::string check_text() {
  return {};
}

template <typename... Args>
std::string check_text(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}

}  // namespace millrace
