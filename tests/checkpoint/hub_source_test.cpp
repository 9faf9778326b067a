// A repository's way into the cache: layout, ranges, resumption, sharing, offline use.
#include "checkpoint/hub_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "checkpoint/fake_hub.h"
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
using testing::IsEmpty;
using testing::Not;

class HubSourceTest : public testing::Test {
 protected:
  HubSourceTest() {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(seed);
    RecordProperty("seed", std::to_string(seed));
    random.seed(seed);
    hub.files = {{"config.json", R"({"architectures": ["BertModel"]})"},
                 {"tokenizer.json", test::random_bytes(random, 2500)},
                 {"modules.json", R"([{"path": ""}, {"path": "1_Pooling"}])"},
                 {"1_Pooling/config.json", "{}"},
                 {"model.safetensors", test::random_bytes(random, 20'000 + random() % 5000)},
                 {"README.md", "of no use"},
                 {"modeling_own.py", "import os"},
                 {"pytorch_model.bin", "PK"},
                 {"onnx/model.onnx", "of no use"},
                 {"2_Other/config.json", "{}"}};
  }

  HubSource source(const std::string& revision = "") const {
    return HubSource("org/name", revision, hub.settings(cache.path()));
  }

  fs::path repository() const { return cache.path() / "models--org--name"; }
  fs::path snapshot() const { return repository() / "snapshots" / FakeHub::kCommit; }
  std::string weights() const { return hub.files.at("model.safetensors"); }
  fs::path incomplete() const {
    return repository() / "blobs" / (hub.etag("model.safetensors") + ".incomplete");
  }

  void write(const fs::path& path, std::string_view bytes) const {
    fs::create_directories(path.parent_path());
    write_file(path.string(), bytes);
  }

  // Bytes that the content network was asked for.
  size_t bytes_asked() {
    size_t sum = 0;
    for (const Asked& asked : hub.asked_of_cdn())
      sum += FakeHub::ranged(asked, weights()).body.size();
    return sum;
  }

  std::minstd_rand random;
  FakeHub hub;
  TempDir cache;
};

TEST_F(HubSourceTest, WritesTheStandardLayout) {
  EXPECT_EQ(source("refs/pr/1").fetch({}), snapshot());
  std::set<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(snapshot())) {
    if (!entry.is_regular_file()) continue;
    const std::string path = entry.path().lexically_relative(snapshot());
    found.insert(path);
    EXPECT_EQ(read_file(entry.path()), hub.files.at(path));
    const fs::path target = fs::read_symlink(entry.path());
    EXPECT_TRUE(target.is_relative()) << target;
    EXPECT_EQ(fs::canonical(entry.path()), fs::canonical(repository() / "blobs" / hub.etag(path)));
  }
  EXPECT_THAT(found, testing::ElementsAre("1_Pooling/config.json", "config.json",
                                          "model.safetensors", "modules.json", "tokenizer.json"));
  EXPECT_EQ(read_file(repository() / "refs/refs/pr/1"), FakeHub::kCommit);
  EXPECT_FALSE(fs::exists(incomplete()));
  EXPECT_TRUE(fs::exists(cache.path() / ".locks/models--org--name" /
                         (hub.etag("model.safetensors") + ".lock")));
  EXPECT_EQ(hub.asked_of_hub().front().target, "/api/models/org/name/revision/refs%2Fpr%2F1");
  EXPECT_EQ(bytes_asked(), weights().size());
  EXPECT_GT(hub.asked_of_cdn().size(), 20u);  // in ranges
}

TEST_F(HubSourceTest, FetchesNothingTwice) {
  source().fetch({});
  hub.forget();
  source().fetch({});
  EXPECT_EQ(hub.asked_of_hub().size(), 1u);  // what main is now
  EXPECT_THAT(hub.asked_of_cdn(), IsEmpty());
  hub.forget();
  source(FakeHub::kCommit).fetch({});  // a commit never changes
  EXPECT_THAT(hub.asked_of_hub(), IsEmpty());
  EXPECT_FALSE(fs::exists(repository() / "refs" / FakeHub::kCommit));
}

TEST_F(HubSourceTest, ConfigsComeWithoutWeights) {
  HubSource hub_source = source();
  EXPECT_EQ(hub_source.fetch_configs({}), snapshot());
  EXPECT_TRUE(fs::exists(snapshot() / "1_Pooling/config.json"));
  EXPECT_THAT(hub.asked_of_cdn(), IsEmpty());
  const size_t before = hub.asked_of_hub().size();
  hub_source.fetch({});
  EXPECT_EQ(read_file(snapshot() / "model.safetensors"), weights());
  EXPECT_EQ(hub.asked_of_hub().size(), before + 1);  // where the weights are
}

TEST_F(HubSourceTest, ShardsAreThoseOfTheIndex) {
  hub.files.erase("model.safetensors");
  hub.files["model.safetensors.index.json"] =
      R"({"weight_map": {"a": "x-2.safetensors", "b": "x-1.safetensors"}})";
  for (const char* name : {"x-1.safetensors", "x-2.safetensors", "consolidated.safetensors"})
    hub.files[name] = test::random_bytes(random, 1500);
  source().fetch({});
  EXPECT_EQ(read_file(snapshot() / "x-1.safetensors"), hub.files["x-1.safetensors"]);
  EXPECT_EQ(read_file(snapshot() / "x-2.safetensors"), hub.files["x-2.safetensors"]);
  EXPECT_FALSE(fs::exists(snapshot() / "consolidated.safetensors"));
}

TEST_F(HubSourceTest, GoesOnFromWhatIsThere) {
  const size_t kept = 1 + random() % weights().size();
  write(incomplete(), weights().substr(0, kept));
  uint64_t first = 0;
  uint64_t last = 0;
  source().fetch([&](const std::string& file, uint64_t done, uint64_t) {
    if (file != "model.safetensors") return;
    if (first == 0) first = done;
    EXPECT_GE(done, last);
    last = done;
  });
  EXPECT_EQ(read_file(snapshot() / "model.safetensors"), weights());
  EXPECT_EQ(bytes_asked(), weights().size() - kept);
  EXPECT_EQ(first, kept);
  EXPECT_EQ(last, weights().size());
}

TEST_F(HubSourceTest, WhatArrivedBeforeAFailureIsKept) {
  hub.cdn_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    const size_t begin = std::stoul(asked.header("Range").substr(6));
    if (begin < 9000) return std::nullopt;
    return WebAnswer{.status = 500};
  };
  // A failure ends what other connections are at.
  HubSettings settings = hub.settings(cache.path());
  settings.num_connections = 1;
  HubSource one_by_one("org/name", "", settings);
  EXPECT_THAT(error_of([&] { one_by_one.fetch({}); }).what(), HasSubstr("status 500"));
  EXPECT_EQ(read_file(incomplete()), weights().substr(0, 9000));
  EXPECT_FALSE(fs::exists(repository() / "refs"));  // not usable yet
  hub.cdn_override = nullptr;
  hub.forget();
  source().fetch({});
  EXPECT_EQ(bytes_asked(), weights().size() - 9000);
}

TEST_F(HubSourceTest, CutConnectionsAreTakenUp) {
  hub.cdn_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    WebAnswer answer = FakeHub::ranged(asked, weights());
    answer.body_sent = random() % answer.body.size();
    if (*answer.body_sent == 0) answer.body_sent = 1;
    return answer;
  };
  source().fetch({});
  EXPECT_EQ(read_file(snapshot() / "model.safetensors"), weights());
}

TEST_F(HubSourceTest, AnExpiredAddressIsRenewed) {
  int signatures = 0;
  hub.hub_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    if (!asked.target.ends_with("/model.safetensors")) return std::nullopt;
    const std::string location = fmt::format("http://127.0.0.1:{}/model.safetensors?signature={}",
                                             hub.cdn_server.port(), ++signatures);
    return WebAnswer{.status = 302,
                     .headers = {{"Location", location},
                                 {"X-Linked-Etag", hub.etag("model.safetensors")},
                                 {"X-Linked-Size", std::to_string(weights().size())}}};
  };
  hub.cdn_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    const bool late = std::stoul(asked.header("Range").substr(6)) >= 5000;
    if (!late || !asked.target.ends_with("=1")) return std::nullopt;
    return WebAnswer{.status = 403, .body = "expired"};
  };
  source().fetch({});
  EXPECT_EQ(read_file(snapshot() / "model.safetensors"), weights());
  EXPECT_GT(signatures, 1);
}

TEST_F(HubSourceTest, AWrongHashIsDeletedAndTold) {
  hub.cdn_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    std::string altered = weights();
    altered[5] = static_cast<char>(altered[5] + 1);
    return FakeHub::ranged(asked, altered);
  };
  const Error error = error_of([&] { source().fetch({}); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("model.safetensors of org/name arrived damaged and was "
                                            "deleted: its SHA-256 is"),
                                  HasSubstr(hub.etag("model.safetensors"))));
  EXPECT_FALSE(fs::exists(incomplete()));
  EXPECT_FALSE(fs::exists(snapshot() / "model.safetensors"));

  hub.cdn_override = nullptr;
  hub.hub_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    if (asked.method != "GET" || !asked.target.ends_with("/tokenizer.json")) return std::nullopt;
    WebAnswer altered = FakeHub::ranged(asked, hub.files.at("tokenizer.json"));
    altered.body[0] = static_cast<char>(altered.body[0] + 1);
    return altered;
  };
  fs::remove_all(repository());
  EXPECT_THAT(
      error_of([&] { source().fetch({}); }).what(),
      HasSubstr("tokenizer.json of org/name arrived damaged and was deleted: its git SHA-1"));
}

TEST_F(HubSourceTest, AForeignBeginningIsFoundOut) {
  write(incomplete(), std::string(1234, 'x'));
  EXPECT_THAT(error_of([&] { source().fetch({}); }).what(), HasSubstr("arrived damaged"));
  source().fetch({});
  EXPECT_EQ(read_file(snapshot() / "model.safetensors"), weights());
  fs::remove_all(repository());
  write(incomplete(), weights() + "more");
  EXPECT_THAT(error_of([&] { source().fetch({}); }).what(), HasSubstr("is longer than"));
  source().fetch({});
}

TEST_F(HubSourceTest, ABlobOfAnotherSizeIsFetchedAgain) {
  write(repository() / "blobs" / hub.etag("model.safetensors"), "short");
  source().fetch({});
  EXPECT_EQ(read_file(snapshot() / "model.safetensors"), weights());
}

TEST_F(HubSourceTest, SeveralAtOnceFetchEachFileOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_EQ(source().fetch({}), snapshot()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(bytes_asked(), weights().size());
  EXPECT_EQ(read_file(snapshot() / "model.safetensors"), weights());
}

TEST_F(HubSourceTest, OfflineReadsTheCacheAlone) {
  HubSettings settings = hub.settings(cache.path());
  settings.offline = true;
  const auto offline = [&](const std::string& revision) {
    return HubSource("org/name", revision, settings).fetch({});
  };
  const Error none = error_of([&] { offline("main"); });
  EXPECT_EQ(none.code(), ErrorCode::kNotFound);
  EXPECT_THAT(none.what(), HasSubstr("does not have org/name at main"));
  source().fetch({});
  hub.forget();
  EXPECT_EQ(offline("main"), snapshot());
  EXPECT_EQ(offline(FakeHub::kCommit), snapshot());
  EXPECT_THAT(error_of([&] { offline("v2"); }).what(), HasSubstr("org/name at v2"));
  fs::remove(snapshot() / "model.safetensors");
  EXPECT_THAT(error_of([&] { offline("main"); }).what(),
              AllOf(HasSubstr("HF_HUB_OFFLINE is set"), HasSubstr("lacks model.safetensors")));
  EXPECT_THAT(hub.asked_of_hub(), IsEmpty());
}

// transformers fetches file by file: its snapshots may lack modules.json, and say nothing of it.
TEST_F(HubSourceTest, ASnapshotWithoutAListingCountsAsItIs) {
  source().fetch({});
  fs::remove_all(repository() / "millrace");
  HubSettings settings = hub.settings(cache.path());
  settings.offline = true;
  EXPECT_EQ(HubSource("org/name", "", settings).fetch({}), snapshot());
  fs::remove(snapshot() / "model.safetensors");
  EXPECT_THAT(error_of([&] { HubSource("org/name", "", settings).fetch({}); }).what(),
              HasSubstr("has neither model.safetensors"));
  fs::remove(snapshot() / "tokenizer.json");
  EXPECT_THAT(error_of([&] { HubSource("org/name", "", settings).fetch({}); }).what(),
              HasSubstr("has no tokenizer.json in the cache"));
  // The hub is asked what is missing.
  source(FakeHub::kCommit).fetch({});
  EXPECT_TRUE(fs::exists(snapshot() / "tokenizer.json"));
}

TEST_F(HubSourceTest, AnUnreachableHubLeavesTheCache) {
  source().fetch({});
  hub.hub_server.stop();
  hub.cdn_server.stop();
  EXPECT_EQ(source().fetch({}), snapshot());
  fs::remove(snapshot() / "tokenizer.json");
  const Error error = error_of([&] { source().fetch({}); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("cannot be reached"), HasSubstr(FakeHub::kCommit),
                                  HasSubstr("lacks tokenizer.json")));
}

TEST_F(HubSourceTest, TheTokenGoesToTheHubAlone) {
  HubSettings settings = hub.settings(cache.path());
  settings.token = "hf_token";
  // Another port of the same machine is another origin.
  hub.hub_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    if (!asked.target.ends_with("/config.json")) return std::nullopt;
    WebAnswer answer = WebAnswer{.status = 307};
    answer.headers.add("Location",
                       fmt::format("http://127.0.0.1:{}/config.json", hub.cdn_server.port()));
    answer.headers.add("X-Repo-Commit", FakeHub::kCommit);
    answer.headers.add("X-Linked-Etag", hub.etag("1_Pooling/config.json"));
    answer.headers.add("X-Linked-Size", "2");
    if (asked.target.ends_with("/1_Pooling/config.json")) return answer;
    return std::nullopt;
  };
  hub.cdn_override = [&](const Asked& asked) -> std::optional<WebAnswer> {
    if (asked.target != "/config.json") return std::nullopt;
    return WebAnswer{.body = "{}"};
  };
  HubSource("org/name", "", settings).fetch({});
  for (const Asked& asked : hub.asked_of_hub())
    EXPECT_EQ(asked.header("Authorization"), "Bearer hf_token") << asked.target;
  ASSERT_THAT(hub.asked_of_cdn(), Not(IsEmpty()));
  for (const Asked& asked : hub.asked_of_cdn())
    EXPECT_EQ(asked.header("Authorization"), "") << asked.target;
}

}  // namespace
}  // namespace millrace
