// Statuses and bodies of errors: docs/api.md lists them.
#include "server/request_error.h"

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

namespace millrace {

namespace {

struct Wording {
  Refusal refusal;
  int openai_status;
  std::string_view openai_type;
  int tei_status;
  std::string_view tei_type;
};

// OpenAI: the types of its clients' exceptions. TEI: its router's ErrorType, with words of our own
// where it has none.
constexpr Wording kWordings[] = {
    {Refusal::kInvalid, 400, "invalid_request_error", 422, "validation"},
    {Refusal::kEmpty, 400, "invalid_request_error", 400, "empty"},
    {Refusal::kTokenizer, 400, "invalid_request_error", 422, "tokenizer"},
    {Refusal::kWrongModel, 400, "invalid_request_error", 424, "backend"},
    {Refusal::kBackend, 500, "server_error", 424, "backend"},
    {Refusal::kUnauthenticated, 401, "authentication_error", 401, "authentication"},
    {Refusal::kForbidden, 403, "permission_error", 403, "permission"},
    {Refusal::kNotFound, 404, "not_found_error", 404, "not_found"},
    {Refusal::kTimeout, 504, "timeout", 504, "timeout"},
    {Refusal::kOverloaded, 429, "rate_limit_error", 429, "overloaded"},
    {Refusal::kUnavailable, 503, "overloaded", 503, "unhealthy"},
    {Refusal::kInternal, 500, "server_error", 500, "backend"},
};

const Wording& wording(Refusal refusal) {
  for (const Wording& row : kWordings) {
    if (row.refusal == refusal) return row;
  }
  throw InternalError("a Refusal outside its table");
}

// Of a status that the HTTP floor gives.
std::string_view type_of(ErrorStyle style, int status) {
  for (const Wording& row : kWordings) {
    if (style == ErrorStyle::kOpenAI && row.openai_status == status) return row.openai_type;
    if (style == ErrorStyle::kTei && row.tei_status == status) return row.tei_type;
  }
  if (status == 408) return "timeout";
  if (style == ErrorStyle::kOpenAI) return status < 500 ? "invalid_request_error" : "server_error";
  return status < 500 ? "validation" : "backend";
}

Refusal refusal_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return Refusal::kTokenizer;  // of a text, once it is parsed
    case ErrorCode::kCorrupt: return Refusal::kInvalid;
    case ErrorCode::kNotFound: return Refusal::kNotFound;
    case ErrorCode::kOverloaded: return Refusal::kOverloaded;
    case ErrorCode::kUnavailable: return Refusal::kUnavailable;
    case ErrorCode::kCancelled: return Refusal::kTimeout;
    case ErrorCode::kUnsupported: return Refusal::kBackend;
    case ErrorCode::kIo: return Refusal::kInternal;
  }
  return Refusal::kInternal;
}

http::Response body(ErrorStyle style, int status, std::string_view type, std::string_view message,
                    const std::string& param, const std::string& code, int retry_after_s = 1) {
  const auto or_null = [](const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
  };
  const json::object content = style == ErrorStyle::kTei
                                   ? json::object{{"error", message}, {"error_type", type}}
                                   : json::object{{"error", json::object{{"message", message},
                                                                         {"type", type},
                                                                         {"param", or_null(param)},
                                                                         {"code", or_null(code)}}}};
  http::Response response = http::json_response(status, json::to_text(content));
  if (status == 429 || status == 503)
    response.headers.set("retry-after", std::to_string(retry_after_s));
  if (status == 401) response.headers.set("www-authenticate", "Bearer");
  return response;
}

http::Response body(ErrorStyle style, Refusal refusal, std::string_view message,
                    const std::string& param = {}, const std::string& code = {},
                    int retry_after_s = 1) {
  const Wording& row = wording(refusal);
  const bool tei = style == ErrorStyle::kTei;
  return body(style, tei ? row.tei_status : row.openai_status, tei ? row.tei_type : row.openai_type,
              message, param, code, retry_after_s);
}

}  // namespace

http::Response error_response(ErrorStyle style, int status, std::string_view message) {
  return body(style, status, type_of(style, status), message, "", "");
}

Refusal refusal_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const RequestError& refused) {
    return refused.refusal();
  } catch (const Error& failed) {
    return refusal_of(failed.code());
  } catch (...) {
    return Refusal::kInternal;
  }
}

http::Response error_response(ErrorStyle style, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const RequestError& refused) {
    return body(style, refused.refusal(), refused.what(), refused.param(), refused.code(),
                refused.retry_after_s());
  } catch (const Error& failed) {
    return body(style, refusal_of(failed.code()), failed.what());
  } catch (const std::exception& bug) {
    log::error("a request failed: {}", bug.what());
  } catch (...) {
    log::error("a request failed: an exception of unknown type");
  }
  return body(style, Refusal::kInternal, "internal error; the server's log says more", "",
              "internal_error");
}

}  // namespace millrace
