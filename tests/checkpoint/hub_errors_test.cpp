// Every way in which a hub can fail or lie ends in a sentence that says what to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fake_hub.h"
#include "checkpoint/hub_source.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::Asked;
using test::error_of;
using test::FakeHub;
using test::TempDir;
using test::WebAnswer;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class HubErrorsTest : public testing::Test {
 protected:
  HubErrorsTest() {
    hub.files = {{"config.json", "{}"},
                 {"tokenizer.json", "{}"},
                 {"model.safetensors", std::string(5000, 'w')}};
    settings = hub.settings(cache.path());
  }

  Error failure() const {
    return error_of([&] { HubSource("org/name", "", settings).fetch({}); });
  }

  // The hub answers requests whose target holds `part` with this.
  void answer(const std::string& part, const WebAnswer& with) {
    hub.hub_override = [part, with](const Asked& asked) -> std::optional<WebAnswer> {
      if (asked.target.find(part) == std::string::npos) return std::nullopt;
      return with;
    };
  }

  FakeHub hub;
  TempDir cache;
  HubSettings settings;
};

struct Refusal {
  WebAnswer answer;
  std::string token;
  ErrorCode code;
  std::string message;
  std::string hint;
};

TEST_F(HubErrorsTest, StatusesOfTheHub) {
  const auto coded = [](int status, const std::string& code) {
    return WebAnswer{.status = status,
                     .headers = {{"X-Error-Code", code}, {"X-Error-Message", "its own words"}}};
  };
  for (const Refusal& refusal : {
           Refusal{coded(401, "RepoNotFound"), "", ErrorCode::kNotFound,
                   "org/name at main cannot be read (status 401): there is no such repository, or "
                   "it is private",
                   "set HF_TOKEN"},
           Refusal{coded(404, "RepoNotFound"), "t", ErrorCode::kNotFound, "(status 404)",
                   "the account of the token in HF_TOKEN can see it"},
           Refusal{{.status = 401},
                   "t",
                   ErrorCode::kInvalidArgument,
                   "refuses the token in HF_TOKEN (status 401)",
                   "create a token"},
           Refusal{coded(403, "GatedRepo"), "t", ErrorCode::kInvalidArgument,
                   "org/name at main is gated (status 403): its own words", "accept its terms"},
           Refusal{coded(401, "GatedRepo"), "", ErrorCode::kInvalidArgument, "is gated",
                   "accept its terms on its page of the hub, then create a token"},
           Refusal{{.status = 403},
                   "t",
                   ErrorCode::kInvalidArgument,
                   "denies access",
                   "check the permissions of the token in HF_TOKEN"},
           Refusal{coded(404, "RevisionNotFound"), "", ErrorCode::kNotFound,
                   "there is no such revision: org/name at main", "refs/pr/N"},
           Refusal{{.status = 404},
                   "",
                   ErrorCode::kNotFound,
                   "has no org/name at main",
                   "check the name and the revision"},
           Refusal{{.status = 429, .headers = {{"Retry-After", "3600"}}},
                   "",
                   ErrorCode::kUnavailable,
                   "limits the rate of requests (status 429)",
                   "again in 3600 s; what was fetched is kept; a token in HF_TOKEN raises"},
           Refusal{{.status = 503},
                   "",
                   ErrorCode::kUnavailable,
                   "failed 3 times (status 503)",
                   "what was fetched is kept"},
           Refusal{{.status = 418}, "", ErrorCode::kIo, "answered with status 418", ""},
           Refusal{{.body = "<html>log in</html>"},
                   "",
                   ErrorCode::kCorrupt,
                   "not valid JSON",
                   "does not seem to serve a hub"},
           Refusal{{.body = R"({"sha": "main", "siblings": []})"},
                   "",
                   ErrorCode::kCorrupt,
                   "sha: not a commit of 40 hex digits",
                   ""},
           Refusal{{.body = R"({"sha": "0123456789abcdef0123456789abcdef01234567"})"},
                   "",
                   ErrorCode::kCorrupt,
                   "siblings: not a list of files",
                   ""},
           Refusal{{.status = 302, .headers = {{"Location", "gopher://x"}}},
                   "",
                   ErrorCode::kCorrupt,
                   "a redirect that leads nowhere",
                   ""},
           Refusal{{.status = 302, .headers = {{"Location", "/api/models/org/name/revision/main"}}},
                   "",
                   ErrorCode::kCorrupt,
                   "redirects more than 5 times",
                   ""},
       }) {
    SCOPED_TRACE(refusal.message);
    answer("/api/models/", refusal.answer);
    settings.token = refusal.token;
    settings.token_origin = refusal.token.empty() ? "" : "HF_TOKEN";
    const Error error = failure();
    EXPECT_EQ(error.code(), refusal.code);
    EXPECT_THAT(error.message(), HasSubstr(refusal.message));
    EXPECT_THAT(error.hint(), HasSubstr(refusal.hint));
  }
}

TEST_F(HubErrorsTest, PassingFailuresArePassedOver) {
  settings.num_connections = 1;  // so that every request meets both failures
  int asked_times = 0;
  hub.hub_override = [&](const Asked&) -> std::optional<WebAnswer> {
    switch (++asked_times % 3) {
      case 1: return WebAnswer{.status = 429, .headers = {{"Retry-After", "0"}}};
      case 2: return WebAnswer{.status = 502, .body = "bad gateway"};
      default: return std::nullopt;
    }
  };
  HubSource("org/name", "", settings).fetch({});
  EXPECT_GE(asked_times, 12);
}

struct Metadata {
  http::Headers headers;
  std::string problem;
};

TEST_F(HubErrorsTest, MetadataOfAFile) {
  const std::string hash(64, 'a');
  const std::string there = "http://127.0.0.1:1/x";
  for (const Metadata& metadata : {
           Metadata{{{"Location", there}, {"X-Linked-Etag", "\"v2-17\""}, {"X-Linked-Size", "5"}},
                    "gives no hash of config.json of org/name"},
           Metadata{{{"Location", there}, {"X-Linked-Etag", "../../x"}, {"X-Linked-Size", "5"}},
                    "gives no hash"},
           Metadata{{{"Location", there}, {"X-Linked-Etag", hash}, {"X-Linked-Size", "-5"}},
                    "gives \"-5\" as the size"},
           Metadata{{{"Location", there}, {"X-Linked-Etag", hash}, {"X-Linked-Size", "5x"}},
                    "as the size"},
           Metadata{{{"Location", there},
                     {"X-Linked-Etag", hash},
                     {"X-Linked-Size", "99999999999999999999"}},
                    "as the size"},
           Metadata{{{"Location", there}, {"X-Linked-Etag", hash}, {"X-Linked-Size", "600000000"}},
                    "up to 536870912"},
           Metadata{{{"Location", there},
                     {"X-Linked-Etag", hash},
                     {"X-Linked-Size", "5"},
                     {"X-Repo-Commit", "another"}},
                    "of commit another instead of"},
       }) {
    SCOPED_TRACE(metadata.problem);
    answer("/config.json", {.status = 302, .headers = metadata.headers});
    const Error error = failure();
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.what(), HasSubstr(metadata.problem));
  }
}

TEST_F(HubErrorsTest, AFullDiskIsToldBeforeTheStart) {
  hub.hub_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    if (!asked.target.ends_with("/model.safetensors")) return std::nullopt;
    return WebAnswer{.status = 302,
                     .headers = {{"Location", "http://127.0.0.1:1/x"},
                                 {"X-Linked-Etag", std::string(64, 'a')},
                                 {"X-Linked-Size", "16000000000000"}}};
  };
  const Error error = failure();
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_THAT(error.message(),
              AllOf(HasSubstr("org/name at main needs 14.6 TiB more in " + cache.path().string()),
                    HasSubstr("are free there")));
  EXPECT_THAT(error.hint(), HasSubstr("HF_HUB_CACHE"));
}

TEST_F(HubErrorsTest, ADiskThatFillsUp) {
  const fs::path blobs = cache.path() / "models--org--name" / "blobs";
  fs::create_directories(blobs);
  // Every write to this device fails with ENOSPC.
  fs::create_symlink("/dev/full", blobs / (hub.etag("config.json") + ".incomplete"));
  const Error error = failure();
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_THAT(error.message(),
              AllOf(HasSubstr("the disk is full: config.json of org/name needs 2 B more in " +
                              blobs.string()),
                    HasSubstr("are free")));
  EXPECT_THAT(error.hint(), AllOf(HasSubstr("HF_HUB_CACHE"), HasSubstr("is kept")));
}

TEST_F(HubErrorsTest, AServerThatSaysNothing) {
  answer("/api/models/", {.body = "{}", .body_sent = 1, .stalls = true});
  settings.max_tries = 2;
  const Error error = failure();
  EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
  EXPECT_THAT(error.message(), HasSubstr("127.0.0.1 sent nothing for 1 s, 2 times in a row"));
}

TEST_F(HubErrorsTest, AServerWithoutRanges) {
  hub.cdn_override = [&](const Asked&) { return WebAnswer{.body = std::string(5000, 'w')}; };
  EXPECT_THAT(failure().what(), HasSubstr("does not send the range of bytes that was asked for"));
  settings.piece_bytes = 10'000;  // nothing but the whole is asked for
  HubSource("org/name", "", settings).fetch({});
}

TEST_F(HubErrorsTest, AFileThatIsShorterOrLonger) {
  settings.piece_bytes = 10'000;
  settings.max_tries = 2;
  hub.cdn_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    if (asked.header("Range").empty()) return WebAnswer{.body = std::string(100, 'w')};
    return WebAnswer{.status = 416};
  };
  EXPECT_THAT(failure().what(), HasSubstr("is shorter at 127.0.0.1 than the hub says"));
  hub.cdn_override = [&](const Asked&) { return WebAnswer{.body = std::string(6000, 'w')}; };
  EXPECT_THAT(failure().what(), HasSubstr("sends more bytes than it promised"));
}

TEST_F(HubErrorsTest, NoNetworkNoTrust) {
  settings.max_tries = 1;
  settings.endpoint = "http://no-such-host.invalid";
  EXPECT_THAT(failure().what(), AllOf(HasSubstr("no-such-host.invalid"), HasSubstr("https_proxy")));
  settings.endpoint = "http://127.0.0.1:1";
  EXPECT_THAT(failure().what(), HasSubstr("127.0.0.1 cannot be reached"));
  settings.endpoint = fmt::format("https://127.0.0.1:{}", hub.hub_server.port());
  const Error error = failure();
  EXPECT_THAT(error.message(), HasSubstr("no secure connection to 127.0.0.1"));
  EXPECT_THAT(error.hint(), HasSubstr("SSL_CERT_FILE"));
}

TEST_F(HubErrorsTest, SignedAddressesAreNotShown) {
  hub.cdn_override = [](const Asked&) { return WebAnswer{.status = 404}; };
  EXPECT_THAT(failure().what(), AllOf(HasSubstr("127.0.0.1"), Not(HasSubstr("s3cret"))));
}

TEST_F(HubErrorsTest, RedirectsFromHttpsToHttpAreRefused) {
  const WebReply reply{.status = 302, .headers = {{"Location", "http://elsewhere/x"}}};
  EXPECT_THAT(error_of([&] { redirect_target(reply, "https://hub/a"); }).what(),
              HasSubstr("hub redirects from https to http (elsewhere)"));
  EXPECT_EQ(redirect_target(reply, "http://hub/a"), "http://elsewhere/x");
}

TEST_F(HubErrorsTest, OriginsAreSchemeHostAndPort) {
  EXPECT_TRUE(same_origin("https://Hub.co/a", "https://hub.co:443/b?c"));
  EXPECT_FALSE(same_origin("https://hub.co/a", "http://hub.co/a"));
  EXPECT_FALSE(same_origin("https://hub.co/a", "https://hub.co:8443/a"));
  EXPECT_FALSE(same_origin("https://hub.co/a", "https://hub.co.evil.org/a"));
  EXPECT_FALSE(same_origin("https://hub.co/a", "https://hub.co@evil.org/a"));
  EXPECT_FALSE(same_origin("https://hub.co/a", "https://user@hub.co/a"));
  EXPECT_FALSE(same_origin("https://hub.co/a", "file:///a"));
}

}  // namespace
}  // namespace millrace
