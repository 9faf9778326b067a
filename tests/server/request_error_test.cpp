// Errors in the words of both APIs.
#include "server/request_error.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace millrace {
namespace {

struct Row {
  std::exception_ptr error;
  int openai_status;
  std::string_view openai_type;
  int tei_status;
  std::string_view tei_type;
};

std::exception_ptr refusal(Refusal kind) {
  return std::make_exception_ptr(RequestError(kind, "why", "input", "a_code"));
}

std::exception_ptr error(ErrorCode code) {
  return std::make_exception_ptr(Error(code, "why"));
}

TEST(ErrorResponse, SaysWhenToTryAgain) {
  const auto overloaded =
      std::make_exception_ptr(RequestError(Refusal::kOverloaded, "full", "", "overloaded", 7));
  const auto unavailable = std::make_exception_ptr(RequestError(Refusal::kUnavailable, "closed"));
  for (const ErrorStyle style : {ErrorStyle::kOpenAI, ErrorStyle::kTei}) {
    EXPECT_EQ(error_response(style, overloaded).headers.find("retry-after"), "7");
    EXPECT_EQ(error_response(style, unavailable).headers.find("retry-after"), "1");
  }
}

TEST(ErrorResponse, HasTheShapeAndStatusOfEitherApi) {
  const std::vector<Row> rows = {
      {refusal(Refusal::kInvalid), 400, "invalid_request_error", 422, "validation"},
      {refusal(Refusal::kEmpty), 400, "invalid_request_error", 400, "empty"},
      {refusal(Refusal::kWrongModel), 400, "invalid_request_error", 424, "backend"},
      {refusal(Refusal::kUnauthenticated), 401, "authentication_error", 401, "authentication"},
      {refusal(Refusal::kForbidden), 403, "permission_error", 403, "permission"},
      {refusal(Refusal::kTimeout), 504, "timeout", 504, "timeout"},
      {error(ErrorCode::kInvalidArgument), 400, "invalid_request_error", 422, "tokenizer"},
      {error(ErrorCode::kNotFound), 404, "not_found_error", 404, "not_found"},
      {error(ErrorCode::kOverloaded), 429, "rate_limit_error", 429, "overloaded"},
      {error(ErrorCode::kUnavailable), 503, "overloaded", 503, "unhealthy"},
      {error(ErrorCode::kCancelled), 504, "timeout", 504, "timeout"},
      {error(ErrorCode::kUnsupported), 500, "server_error", 424, "backend"},
      {std::make_exception_ptr(InternalError("a secret path")), 500, "server_error", 500,
       "backend"},
      {std::make_exception_ptr(42), 500, "server_error", 500, "backend"},
  };
  for (const Row& row : rows) {
    const http::Response openai = error_response(ErrorStyle::kOpenAI, row.error);
    const http::Response tei = error_response(ErrorStyle::kTei, row.error);
    EXPECT_EQ(openai.status, row.openai_status);
    EXPECT_EQ(tei.status, row.tei_status);
    for (const http::Response* response : {&openai, &tei}) {
      EXPECT_EQ(response->headers.find("content-type"), "application/json");
      EXPECT_EQ(response->headers.find("retry-after").has_value(),
                response->status == 429 || response->status == 503);
      EXPECT_EQ(response->headers.find("www-authenticate").has_value(), response->status == 401);
      EXPECT_EQ(response->body.find("secret"), std::string::npos);
    }
    const auto body = json::parse(openai.body, "error");
    const auto& inner = body.at("error").as_object();
    EXPECT_EQ(inner.size(), 4u);
    EXPECT_EQ(inner.at("type").as_string(), row.openai_type);
    EXPECT_FALSE(inner.at("message").as_string().empty());
    const auto flat = json::parse(tei.body, "error");
    EXPECT_EQ(flat.as_object().size(), 2u);
    EXPECT_EQ(flat.at("error_type").as_string(), row.tei_type);
    EXPECT_FALSE(flat.at("error").as_string().empty());
  }
}

TEST(ErrorResponse, NamesTheFieldAndTheCode) {
  const auto with =
      json::parse(error_response(ErrorStyle::kOpenAI, refusal(Refusal::kInvalid)).body, "error");
  EXPECT_EQ(with.at("error").at("param").as_string(), "input");
  EXPECT_EQ(with.at("error").at("code").as_string(), "a_code");
  const auto without =
      json::parse(error_response(ErrorStyle::kOpenAI, error(ErrorCode::kNotFound)).body, "error");
  EXPECT_TRUE(without.at("error").at("param").is_null());
  EXPECT_TRUE(without.at("error").at("code").is_null());
}

TEST(ErrorResponse, OfAStatusAlone) {
  const http::Response openai = error_response(ErrorStyle::kOpenAI, 404, "no route for /\"x\"");
  EXPECT_EQ(openai.status, 404);
  const auto parsed = json::parse(openai.body, "error");
  EXPECT_EQ(parsed.at("error").at("message").as_string(), "no route for /\"x\"");
  EXPECT_EQ(parsed.at("error").at("type").as_string(), "not_found_error");
  const auto tei = json::parse(error_response(ErrorStyle::kTei, 413, "large").body, "error");
  EXPECT_EQ(tei.at("error_type").as_string(), "validation");
}

}  // namespace
}  // namespace millrace
