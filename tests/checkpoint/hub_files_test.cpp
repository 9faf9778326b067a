// Names that are refused, files that are chosen, settings that are read.
#include "checkpoint/hub_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <atomic>
#include <fstream>
#include <map>
#include <thread>

#include "checkpoint/hub_api.h"
#include "checkpoint/hub_cache.h"
#include "checkpoint/hub_settings.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(HubFilesTest, PathsStayInside) {
  for (const char* fine : {"config.json", "1_Pooling/config.json", "a b/ü.json", "..a", "a..b/c"})
    EXPECT_NO_THROW(check_hub_path(fine, "org/name")) << fine;
  const std::string long_part(256, 'a');
  std::string long_path;
  while (long_path.size() <= kMaxFilePath) long_path += "aaaa/";
  for (const std::string& bad :
       {std::string(), std::string("/etc/passwd"), std::string("../x"), std::string("a/../../x"),
        std::string("a/.."), std::string("."), std::string("a//b"), std::string("a/"),
        std::string("a\\..\\b"), std::string("a\0b", 3), std::string("a\nb"), long_part,
        long_path + "a"}) {
    const Error error = error_of([&] { check_hub_path(bad, "org/name"); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("org/name has a file named"), HasSubstr("refused")));
  }
}

TEST(HubFilesTest, Revisions) {
  for (const char* fine : {"main", "v1.0", "refs/pr/12", "feature/x_y", "abc123"})
    EXPECT_NO_THROW(check_hub_revision(fine)) << fine;
  for (const char* bad : {"", "/main", "main/", "a//b", "../x", "a/../b", ".hidden", "a b", "-x",
                          "a\\b", "a?b", "a%2Fb", "a..b"}) {
    EXPECT_EQ(error_of([&] { check_hub_revision(bad); }).code(), ErrorCode::kInvalidArgument)
        << bad;
  }
  EXPECT_TRUE(is_commit(std::string(40, 'a')));
  EXPECT_FALSE(is_commit(std::string(39, 'a')));
  EXPECT_FALSE(is_commit(std::string(40, 'g')));
  EXPECT_EQ(percent_encode("refs/pr/1", false), "refs%2Fpr%2F1");
  EXPECT_EQ(percent_encode("a b/ü#?.json", true), "a%20b/%C3%BC%23%3F.json");
}

TEST(HubFilesTest, NeitherPicklesNorCodeAreChosen) {
  const TempDir dir;
  dir.write("modules.json", R"([{"path": ""}, {"path": "2_Dense"}, {"path": "../up"}])");
  const std::vector<std::string> files = {"2_Dense/config.json",
                                          "2_Dense/model.safetensors",
                                          "2_Dense/pytorch_model.bin",
                                          "3_Other/config.json",
                                          "README.md",
                                          "config.json",
                                          "consolidated.safetensors",
                                          "generation_config.json",
                                          "merges.txt",
                                          "model.safetensors",
                                          "model.safetensors.index.json",
                                          "modeling_x.py",
                                          "modules.json",
                                          "pytorch_model.bin",
                                          "sub/2_Dense/config.json",
                                          "tokenizer.json",
                                          "tokenizer.model",
                                          "training_args.bin",
                                          "vocab.json"};
  EXPECT_THAT(select_config_files(files),
              ElementsAre("config.json", "generation_config.json", "merges.txt",
                          "model.safetensors.index.json", "modules.json", "tokenizer.json",
                          "tokenizer.model", "vocab.json"));
  EXPECT_THAT(select_module_files(files, dir.path()), ElementsAre("2_Dense/config.json"));
  EXPECT_THAT(select_weight_files(files, dir.path(), "org/name"),
              ElementsAre("model.safetensors", "2_Dense/model.safetensors"));
}

TEST(HubFilesTest, RepositoriesWithoutReadableWeights) {
  const TempDir dir;
  const auto refusal = [&](const std::vector<std::string>& files) {
    return error_of([&] { select_weight_files(files, dir.path(), "org/name at main"); });
  };
  const Error pickle = refusal({"config.json", "pytorch_model.bin"});
  EXPECT_EQ(pickle.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(pickle.what(),
              AllOf(HasSubstr("pickle files (pytorch_model.bin), which can run code"),
                    HasSubstr("refs/pr/N"), HasSubstr("safe_serialization=True")));
  EXPECT_THAT(refusal({"model.Q4_0.gguf"}).what(), HasSubstr("(it has model.Q4_0.gguf)"));
  EXPECT_THAT(refusal({"README.md"}).what(), HasSubstr("has neither model.safetensors nor"));
  dir.write("model.safetensors.index.json", R"({"weight_map": {"a": "x.safetensors"}})");
  EXPECT_THAT(refusal({"model.safetensors.index.json"}).what(),
              HasSubstr("names x.safetensors, which the repository lacks"));
  dir.write("model.safetensors.index.json", R"({"weight_map": {"a": "../x.safetensors"}})");
  EXPECT_THAT(refusal({"model.safetensors.index.json", "../x.safetensors"}).what(),
              HasSubstr("is not a .safetensors file of its folder"));
}

HubSettings settings_of(const std::map<std::string, std::string>& variables,
                        const fs::path& secrets = "/none", std::string_view secret = "s") {
  return HubSettings::from_environment(
      [&](const char* name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
      },
      secret, secrets);
}

TEST(HubSettingsTest, TheCacheIsWhereHuggingFaceHasIt) {
  const auto cache = [](std::map<std::string, std::string> variables) {
    variables.emplace("HOME", "/home/me");
    return settings_of(variables).cache.string();
  };
  EXPECT_EQ(cache({}), "/home/me/.cache/huggingface/hub");
  EXPECT_EQ(cache({{"XDG_CACHE_HOME", "/x"}}), "/x/huggingface/hub");
  EXPECT_EQ(cache({{"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "/hf"}}), "/hf/hub");
  EXPECT_EQ(cache({{"HF_HOME", "/hf"}, {"HUGGINGFACE_HUB_CACHE", "/old"}}), "/old");
  EXPECT_EQ(cache({{"HUGGINGFACE_HUB_CACHE", "/old"}, {"HF_HUB_CACHE", "~/new"}}), "/home/me/new");
}

TEST(HubSettingsTest, OfflineAndEndpoint) {
  for (const char* yes : {"1", "true", "ON", "Yes"})
    EXPECT_TRUE(settings_of({{"HF_HUB_OFFLINE", yes}}).offline) << yes;
  for (const char* no : {"", "0", "off", "2"})
    EXPECT_FALSE(settings_of({{"HF_HUB_OFFLINE", no}}).offline) << no;
  EXPECT_EQ(settings_of({}).endpoint, "https://huggingface.co");
  EXPECT_EQ(settings_of({{"HF_ENDPOINT", "https://mirror.example/hf/"}}).endpoint,
            "https://mirror.example/hf");
  for (const char* bad : {"ftp://x", "https://", "https://user:secret@host"}) {
    EXPECT_THAT(error_of([&] {
                  settings_of({{"HF_ENDPOINT", bad}});
                }).what(),
                AllOf(HasSubstr("HF_ENDPOINT"), testing::Not(HasSubstr("secret"))));
  }
}

TEST(HubSettingsTest, TokensInTheirOrder) {
  const TempDir dir;
  dir.write("hf/token", "of_file\n");
  dir.write("secrets/hf_access_token", "of_secret");
  const fs::path secrets = dir.path() / "secrets";
  std::map<std::string, std::string> variables;
  const auto token = [&] { return settings_of(variables, secrets, "hf_access_token").token; };
  EXPECT_EQ(token(), "of_secret");
  variables["HF_HOME"] = dir / "hf";
  EXPECT_EQ(token(), "of_file");
  variables["HUGGING_FACE_HUB_TOKEN"] = "of_old_variable";
  EXPECT_EQ(token(), "of_old_variable");
  variables["HF_TOKEN"] = " of_variable ";
  EXPECT_EQ(token(), "of_variable");
  EXPECT_EQ(settings_of({}, secrets, "../secrets/hf_access_token").token, "");
  for (const char* bad : {"two words", "a\r\nHost: b", "caf\xc3\xa9"}) {
    const Error error = error_of([&] { settings_of({{"HF_TOKEN", bad}}); });
    EXPECT_THAT(error.what(), AllOf(HasSubstr("HF_TOKEN"), testing::Not(HasSubstr(bad))));
  }
}

// filelock may remove a lock file when it lets go: the lock must then be that of the new file,
// whether a third process has made it already or not.
class RemovedLockTest : public testing::TestWithParam<bool> {};

TEST_P(RemovedLockTest, IsNoLock) {
  const TempDir dir;
  const fs::path file = dir.path() / "locks" / "x.lock";
  auto first = std::make_unique<FileLock>(file, [] {});
  std::atomic<bool> waiting{false};
  std::atomic<bool> locked{false};
  std::thread second([&] {
    const FileLock lock(file, [&] { waiting = true; });
    locked = true;
    const int probe = ::open(file.c_str(), O_RDWR);
    EXPECT_NE(::flock(probe, LOCK_EX | LOCK_NB), 0);  // what the path names is held
    ::close(probe);
  });
  while (!waiting) std::this_thread::yield();
  EXPECT_FALSE(locked);
  fs::remove(file);
  if (GetParam()) std::ofstream(file).put('x');
  first.reset();
  second.join();
  EXPECT_TRUE(locked);
}

INSTANTIATE_TEST_SUITE_P(MadeAnew, RemovedLockTest, testing::Bool());

TEST(HubCacheTest, NotesThatCannotBeReadAreNone) {
  const TempDir dir;
  const HubCache cache(dir.path(), "org/name");
  const std::string commit(40, 'a');
  EXPECT_FALSE(cache.read_ref("main"));
  EXPECT_FALSE(cache.read_listing(commit));
  for (const char* text : {"", "{", "{}", R"({"files": []})", R"({"files": ["../x"]})"}) {
    dir.write("models--org--name/millrace/" + commit + ".json", text);
    EXPECT_FALSE(cache.read_listing(commit)) << text;
  }
  dir.write("models--org--name/trees/" + commit + ".json",
            R"({"format_version": 1, "files": {"b": {"size": 1}, "a": {}}})");
  EXPECT_EQ(cache.read_listing(commit), (std::vector<std::string>{"a", "b"}));
  for (const char* text : {"main", "../../etc", ""}) {
    dir.write("models--org--name/refs/main", text);
    EXPECT_FALSE(cache.read_ref("main")) << text;
  }
  cache.write_ref("main", commit);
  EXPECT_EQ(cache.read_ref("main"), commit);
}

}  // namespace
}  // namespace millrace
