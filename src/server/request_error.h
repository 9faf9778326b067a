// RequestError: why a request is refused, and the bodies that say so in the words of either API.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

#include "http/message.h"

namespace millrace {

// Whose clients ask: the body of an error, and for some refusals its status, depend on it.
enum class ErrorStyle : uint8_t {
  kOpenAI,  // {"error": {"message", "type", "param", "code"}}
  kTei,     // {"error": "...", "error_type": "..."}
};

enum class Refusal : uint8_t {
  kInvalid,          // a field that is missing, of the wrong type, out of range
  kEmpty,            // nothing to do
  kTokenizer,        // the text cannot be tokenized
  kWrongModel,       // the route needs a model of another kind
  kBackend,          // the model failed on this input
  kUnauthenticated,  // no key, or a wrong one
  kForbidden,
  kNotFound,
  kTimeout,     // the deadline passed
  kOverloaded,  // a limit on work in flight; try again
  kUnavailable,
  kInternal,  // our fault
};

class RequestError : public std::runtime_error {
 public:
  RequestError(Refusal refusal, const std::string& message, std::string param = {},
               std::string code = {}, int retry_after_s = 1)
      : std::runtime_error(message),
        refusal_(refusal),
        param_(std::move(param)),
        code_(std::move(code)),
        retry_after_s_(retry_after_s) {}

  Refusal refusal() const { return refusal_; }
  const std::string& param() const { return param_; }  // the field at fault; empty: null
  const std::string& code() const { return code_; }  // e.g. "context_length_exceeded"; empty: null
  int retry_after_s() const { return retry_after_s_; }  // when to try again; of 429 and 503

 private:
  Refusal refusal_;
  std::string param_;
  std::string code_;
  int retry_after_s_;
};

// What an error is to the client: RequestError as it says, Error by its code, anything else is
// internal.
Refusal refusal_of(const std::exception_ptr& error);

// The response to an error.
http::Response error_response(ErrorStyle style, const std::exception_ptr& error);

// The same from a status alone: what the HTTP floor asks for.
http::Response error_response(ErrorStyle style, int status, std::string_view message);

}  // namespace millrace
