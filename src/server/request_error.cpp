// Errors as the OpenAI API words them: docs/api.md lists statuses, types and codes.
#include "server/request_error.h"

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

namespace millrace {

namespace {

std::string_view error_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 408:
    case 504: return "timeout";
    case 429: return "rate_limit_error";
    case 503: return "overloaded";
    default: return status < 500 ? "invalid_request_error" : "server_error";
  }
}

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kCorrupt: return 400;
    case ErrorCode::kNotFound: return 404;
    case ErrorCode::kOverloaded: return 429;
    case ErrorCode::kUnavailable: return 503;
    case ErrorCode::kCancelled: return 408;
    case ErrorCode::kUnsupported:
    case ErrorCode::kIo: return 500;
  }
  return 500;
}

http::Response body(int status, std::string_view message, const std::string& param,
                    const std::string& code) {
  const auto or_null = [](const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
  };
  http::Response response = http::json_response(
      status, json::to_text(json::object{{"error", json::object{{"message", message},
                                                                {"type", error_type(status)},
                                                                {"param", or_null(param)},
                                                                {"code", or_null(code)}}}}));
  if (status == 429 || status == 503) response.headers.set("retry-after", "1");
  return response;
}

}  // namespace

http::Response error_response(int status, std::string_view message) {
  return body(status, message, "", "");
}

http::Response error_response(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const RequestError& refused) {
    return body(refused.status(), refused.what(), refused.param(), refused.code());
  } catch (const Error& failed) {
    return body(status_of(failed.code()), failed.what(), "", "");
  } catch (const std::exception& bug) {
    log::error("a request failed: {}", bug.what());
    return body(500, "internal error; the server's log says more", "", "internal_error");
  }
}

}  // namespace millrace
