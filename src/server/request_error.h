// RequestError: why a request is refused, in the words of the OpenAI API.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>

#include "http/message.h"

namespace millrace {

// {"error": {"message", "type", "param", "code"}} with its status.
class RequestError : public std::runtime_error {
 public:
  RequestError(int status, std::string message, std::string param = {}, std::string code = {})
      : std::runtime_error(std::move(message)),
        status_(status),
        param_(std::move(param)),
        code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& param() const { return param_; }  // the field at fault; empty: null
  const std::string& code() const { return code_; }  // e.g. "context_length_exceeded"; empty: null

 private:
  int status_;
  std::string param_;
  std::string code_;
};

// The response to an error: RequestError as it is, Error by its code, anything else 500.
http::Response error_response(const std::exception_ptr& error);

// The same from a status alone, with the API's type for it: what the HTTP floor asks for.
http::Response error_response(int status, std::string_view message);

}  // namespace millrace
