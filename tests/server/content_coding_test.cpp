// Accept headers, and what they make of an answer.
#include "server/content_coding.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <string>
#include <tuple>
#include <vector>

namespace millrace {
namespace {

using namespace std::string_literals;

TEST(Accepts, FollowsNamesAndWeights) {
  const std::vector<std::tuple<const char*, const char*, bool>> rows = {
      {"zstd", "zstd", true},
      {"gzip, zstd;q=0.5, br", "zstd", true},
      {"gzip,ZSTD", "zstd", true},
      {"gzip, zstd;q=0", "zstd", false},
      {"zstd ; q=0.0", "zstd", false},
      {"zstandard", "zstd", false},
      {"*/*", "application/msgpack", false},
      {"application/json, application/msgpack", "application/msgpack", true},
      {"", "zstd", false},
      {",,;q=1,", "zstd", false},
  };
  for (const auto& [list, token, expected] : rows)
    EXPECT_EQ(accepts(list, token), expected) << list;
}

http::Response coded(const http::Headers& headers, const std::string& body) {
  http::Response response = http::json_response(200, body);
  apply_content_coding({.headers = headers}, response);
  return response;
}

TEST(ContentCoding, DoesNothingUnasked) {
  const std::string body = "[" + std::string(5000, ' ') + "1.5]";
  const auto plain = coded({{"accept", "*/*"}, {"accept-encoding", "gzip, br"}}, body);
  EXPECT_EQ(plain.body, body);
  EXPECT_EQ(plain.headers.find("content-type"), "application/json");
  EXPECT_FALSE(plain.headers.find("content-encoding"));
}

TEST(ContentCoding, CompressesWhatIsLongEnough) {
  const std::string body = "[" + std::string(5000, ' ') + "1.5]";
  const auto packed = coded({{"accept-encoding", "zstd"}}, body);
  EXPECT_EQ(packed.headers.find("content-encoding"), "zstd");
  std::string out(body.size() + 1, '\0');
  out.resize(ZSTD_decompress(out.data(), out.size(), packed.body.data(), packed.body.size()));
  EXPECT_EQ(out, body);
  EXPECT_EQ(coded({{"accept-encoding", "zstd"}}, "[1.5]").body, "[1.5]");
}

TEST(ContentCoding, AnswersInMessagePackUnderTheNameThatWasAsked) {
  for (const char* type : {"application/msgpack", "application/x-msgpack"}) {
    const auto packed = coded({{"accept", "application/json, "s + type}}, "[1.5]");
    EXPECT_EQ(packed.headers.find("content-type"), type);
    EXPECT_EQ(packed.body, "\x91\xca\x3f\xc0\x00\x00"s);
  }
}

}  // namespace
}  // namespace millrace
