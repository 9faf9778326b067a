// Who is let in.
#include "server/access.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

http::Request with(http::Headers headers) {
  return {.path = "/v1/models", .headers = std::move(headers)};
}

TEST(Access, TenantsAreKeysAndTheirNamesTellNothing) {
  const Access keyed({.api_key = "secret"}, "0.0.0.0");
  const std::string tenant = keyed.tenant(with({{"Authorization", "Bearer secret"}}));
  EXPECT_EQ(tenant, keyed.tenant(with({{"X-Api-Key", "secret"}})));
  EXPECT_NE(tenant, keyed.tenant(with({{"X-Api-Key", "another"}})));
  EXPECT_EQ(tenant.find("secret"), std::string::npos);
  EXPECT_EQ(Access({}, "127.0.0.1").tenant(with({{"X-Api-Key", "secret"}})), "");
}

TEST(Access, TakesAKeyInEachOfItsForms) {
  const Access access({.api_key = "secret"}, "0.0.0.0");
  for (const auto& [name, value] : http::Headers{{"Authorization", "Bearer secret"},
                                                 {"authorization", "bearer   secret "},
                                                 {"Authorization", "Api-Key secret"},
                                                 {"X-Api-Key", "secret"}}) {
    EXPECT_TRUE(access.authenticated(with({{name, value}}))) << value;
    EXPECT_FALSE(access.refusal(with({{name, value}}))) << value;
  }
  for (const auto& [name, value] : http::Headers{{"Authorization", "Bearer secre"},
                                                 {"Authorization", "Bearer secrets"},
                                                 {"Authorization", "Bearer SECRET"},
                                                 {"Authorization", "Bearer"},
                                                 {"Authorization", "Bearer "},
                                                 {"Authorization", "Bearersecret"},
                                                 {"Authorization", "Basic secret"},
                                                 {"Authorization", "secret"},
                                                 {"Authorization", ""},
                                                 {"X-Api-Key", ""},
                                                 {"X-Api-Key", std::string(100'000, 's')},
                                                 {"X-Other", "secret"}}) {
    EXPECT_FALSE(access.authenticated(with({{name, value}}))) << value.substr(0, 50);
    const auto refusal = access.refusal(with({{name, value}}));
    ASSERT_TRUE(refusal) << value.substr(0, 50);
    EXPECT_EQ(refusal->refusal(), Refusal::kUnauthenticated);
    EXPECT_EQ(std::string_view(refusal->what()).find("secre"), std::string_view::npos);
  }
}

TEST(Access, ReadsAFileOfKeys) {
  const test::TempDir directory;
  const std::string path = (directory.path() / "keys").string();
  std::ofstream(path) << "# ours\nfirst\n\n  second \r\n";
  const Access access({.api_key = "third", .api_key_file = path}, "127.0.0.1");
  for (const char* key : {"first", "second", "third"})
    EXPECT_TRUE(access.authenticated(with({{"x-api-key", key}}))) << key;
  EXPECT_FALSE(access.authenticated(with({{"x-api-key", "# ours"}})));

  std::ofstream(path) << "# none\n";
  EXPECT_THROW(Access({.api_key_file = path}, "127.0.0.1"), Error);
  EXPECT_THROW(Access({.api_key_file = path + ".missing"}, "127.0.0.1"), Error);
}

TEST(Access, IsNotOpenToOthersUnlessToldSo) {
  EXPECT_THROW(Access({}, "0.0.0.0"), Error);
  EXPECT_THROW(Access({}, "::"), Error);
  EXPECT_THROW(Access({}, "192.168.1.7"), Error);
  EXPECT_THROW(Access({}, "example.com"), Error);
  const Access open({.allow_unauthenticated = true}, "0.0.0.0");
  EXPECT_FALSE(open.refusal(with({{"host", "anything"}})));
}

// A page of a name that was made to point to 127.0.0.1 sends that name as Host.
TEST(Access, WithoutKeysOnlyThisMachinesNamesAreAnswered) {
  const Access access({}, "127.0.0.1");
  for (const char* host : {"127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:1", "[::1]:8000"})
    EXPECT_FALSE(access.refusal(with({{"host", host}}))) << host;
  EXPECT_FALSE(access.refusal(with({})));
  for (const char* host : {"evil.example", "evil.example:8000", "localhost.evil.example", "",
                           "0.0.0.0", "[fe80::1]", "["}) {
    const auto refusal = access.refusal(with({{"host", host}}));
    ASSERT_TRUE(refusal) << host;
    EXPECT_EQ(refusal->refusal(), Refusal::kForbidden);
  }
  const Access keyed({.api_key = "k"}, "127.0.0.1");
  EXPECT_FALSE(keyed.refusal(with({{"host", "models.example"}, {"x-api-key", "k"}})));
}

}  // namespace
}  // namespace millrace
