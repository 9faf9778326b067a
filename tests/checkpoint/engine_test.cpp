// Engines: the same bytes from the same inputs, and every damage refused by name with a remedy.
#include "checkpoint/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <random>
#include <stdexcept>

#include "base/hash.h"
#include "base/json.h"
#include "base/version.h"
#include "support/errors.h"
#include "support/source_dir.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TempDir;
using testing::AllOf;
using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Not;

constexpr const char* kRebuild = "build the engine again";

// Every file below a directory, by its relative name.
std::map<std::string, std::string> contents_of(const fs::path& directory) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file()) {
      out.emplace(entry.path().lexically_relative(directory).string(),
                  read_file(entry.path().string()));
    }
  }
  return out;
}

class EngineTest : public testing::Test {
 protected:
  EngineTest() : checkpoint_(open_hf_directory(kCheckpoint)) {
    contents_.checkpoint = &checkpoint_;
    contents_.model = ModelConfig::from_hf(checkpoint_.config_texts, kCheckpoint);
    contents_.build.max_num_tokens = 4096;
    contents_.build.dtype = ComputeDType::kBF16;
    for (const char* name : {"embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"}) {
      const Tensor* tensor = checkpoint_.weights.find(name);
      contents_.weights.push_back(
          {.name = name, .dtype = tensor->dtype, .shape = tensor->shape, .parts = {*tensor}});
    }
    contents_.formats = {{"embeddings.LayerNorm", "F32"}};
    contents_.sources = {identify_file(kCheckpoint, "config.json", pool_)};
  }

  fs::path target() const { return dir_.path() / "engine"; }
  void write(const fs::path& path) { write_engine(path, contents_, pool_, {}); }
  Engine open(const fs::path& path) { return Engine::open(path, pool_); }

  // Puts a manifest with a valid digest in the place of the engine's.
  void put_manifest(const EngineManifest& manifest) {
    write_file((target() / "manifest.json").string(), manifest_text(manifest));
  }

  static inline const std::string kCheckpoint =
      test::source_dir().string() + "/tests/golden/bert_mean";

  TempDir dir_;
  ThreadPool pool_{2};
  ModelFiles checkpoint_;
  EngineContents contents_;
};

TEST_F(EngineTest, OpensAsItWasWritten) {
  write(target());
  EXPECT_TRUE(is_engine(target()));
  const Engine engine = open(target());
  EXPECT_EQ(engine.manifest.format_version, kEngineFormatVersion);
  EXPECT_EQ(engine.manifest.millrace_version, kVersion);
  EXPECT_EQ(engine.manifest.architecture, "BertModel");
  EXPECT_THAT(engine.manifest.targets, ElementsAre("cpu"));
  EXPECT_EQ(engine.manifest.sources, contents_.sources);
  EXPECT_EQ(engine.manifest.formats, contents_.formats);

  EXPECT_EQ(engine.files.config_texts, checkpoint_.config_texts);
  EXPECT_EQ(engine.files.tokenizer_json, checkpoint_.tokenizer_json);
  EXPECT_EQ(engine.files.naming, WeightNaming::kCanonical);
  EXPECT_EQ(engine.files.build.max_seq_len, 130);
  EXPECT_EQ(engine.files.build.max_batch_size, contents_.build.max_batch_size);
  EXPECT_EQ(engine.files.build.max_num_tokens, 4096);
  EXPECT_EQ(engine.files.build.dtype, ComputeDType::kBF16);

  ASSERT_THAT(engine.files.weights.names(),
              ElementsAre("embeddings.LayerNorm.bias", "embeddings.LayerNorm.weight"));
  for (const std::string& name : engine.files.weights.names()) {
    const Tensor* written = engine.files.weights.find(name);
    const Tensor* found = checkpoint_.weights.find(name);
    EXPECT_EQ(written->shape, found->shape);
    EXPECT_EQ(std::memcmp(written->data, found->data, static_cast<size_t>(found->bytes())), 0);
  }
}

TEST_F(EngineTest, ListsEveryFileButTheManifest) {
  write(target());
  const auto files = contents_of(target());
  std::vector<std::string> listed;
  for (const FileIdentity& file : open(target()).manifest.files) {
    listed.push_back(file.name);
    ASSERT_THAT(files, Contains(Key(file.name)));
    EXPECT_EQ(file.bytes, files.at(file.name).size());
    EXPECT_THAT(file.sha256, ElementsAre(sha256_hex(files.at(file.name))));
  }
  std::vector<std::string> there;
  for (const auto& [name, bytes] : files) {
    if (name != "manifest.json") there.push_back(name);
  }
  EXPECT_EQ(listed, there);
  EXPECT_THAT(there, ElementsAre("1_Pooling/config.json", "config.json",
                                 "config_sentence_transformers.json", "hf_config.json",
                                 "modules.json", "rank0.safetensors", "sentence_bert_config.json",
                                 "tokenizer.json", "tokenizer_config.json"));
}

TEST_F(EngineTest, TheConfigFollowsTensorRtLlmsSchema) {
  write(target());
  const json::value config = json::parse_file((target() / "config.json").string());
  const json::value expected = json::parse(R"({
    "version": "VERSION",
    "pretrained_config": {
      "architecture": "BertModel", "dtype": "float32", "vocab_size": 320,
      "max_position_embeddings": 130, "hidden_size": 72, "num_hidden_layers": 3,
      "num_attention_heads": 6, "hidden_act": "gelu", "intermediate_size": 200,
      "norm_epsilon": 1e-12, "position_embedding_type": "learned_absolute",
      "mapping": {"world_size": 1, "tp_size": 1, "pp_size": 1},
      "quantization": {"quant_algo": null, "kv_cache_quant_algo": null}},
    "build_config": {"max_seq_len": 130, "max_batch_size": 256, "max_num_tokens": 4096,
                     "compute_dtype": "bf16"}})",
                                           "expected");
  json::value wanted = expected;
  wanted.as_object()["version"] = kVersion;
  EXPECT_EQ(config, wanted) << json::to_pretty_text(config);
}

TEST_F(EngineTest, TwoBuildsAreByteIdentical) {
  write(target());
  std::swap(contents_.weights.front(), contents_.weights.back());
  ThreadPool other_pool(1);
  write_engine(dir_.path() / "deep" / "other name", contents_, other_pool, {});
  EXPECT_EQ(contents_of(target()), contents_of(dir_.path() / "deep" / "other name"));
}

TEST_F(EngineTest, NoFileNamesTheDirectoryItWasBuiltIn) {
  write(target());
  for (const auto& [name, bytes] : contents_of(target())) {
    EXPECT_THAT(bytes, Not(HasSubstr(dir_.path().string()))) << name;
    EXPECT_THAT(bytes, Not(HasSubstr(test::source_dir().string()))) << name;
  }
}

TEST_F(EngineTest, ProgressEndsAtTheWeightsBytes) {
  uint64_t last = 0;
  uint64_t total = 0;
  write_engine(target(), contents_, pool_, [&](uint64_t done, uint64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  });
  EXPECT_EQ(total, 2u * 72 * 4);
  EXPECT_EQ(last, total);
}

TEST_F(EngineTest, AnInterruptedBuildLeavesNothing) {
  const auto fail = [](uint64_t, uint64_t) { throw std::runtime_error("interrupted"); };
  EXPECT_THROW(write_engine(target(), contents_, pool_, fail), std::runtime_error);
  EXPECT_THAT(contents_of(dir_.path()), IsEmpty());
  EXPECT_FALSE(fs::exists(target()));
}

TEST_F(EngineTest, AnInterruptedBuildKeepsTheOldEngine) {
  write(target());
  const auto before = contents_of(dir_.path());
  const auto fail = [](uint64_t, uint64_t) { throw std::runtime_error("interrupted"); };
  EXPECT_THROW(write_engine(target(), contents_, pool_, fail), std::runtime_error);
  EXPECT_EQ(contents_of(dir_.path()), before);
}

TEST_F(EngineTest, ReplacesAnEngineWholly) {
  write(target());
  contents_.build.max_batch_size = 7;
  dir_.write("engine/kernels/left_over.bin", "x");
  write(target());
  EXPECT_EQ(open(target()).files.build.max_batch_size, 7);
  EXPECT_FALSE(fs::exists(target() / "kernels"));
}

TEST_F(EngineTest, ReplacesADamagedEngine) {
  write(target());
  write_file((target() / "manifest.json").string(), "");
  EXPECT_TRUE(is_engine(target()));
  write(target());
  EXPECT_NO_THROW(open(target()));
}

TEST_F(EngineTest, FillsAnEmptyDirectory) {
  fs::create_directory(target());
  write(target());
  EXPECT_NO_THROW(open(target()));
}

TEST_F(EngineTest, ReplacesNothingElse) {
  dir_.write("thesis/thesis.tex", "years of work");
  dir_.write("extension/manifest.json", R"({"manifest_version": 3, "name": "of a browser"})");
  dir_.write("trt_llm/rank0.safetensors", "another program's");
  dir_.write("trt_llm/config.json", "{}");
  dir_.write("file", "a file");
  const auto before = contents_of(dir_.path());
  for (const char* name : {"thesis", "extension", "trt_llm", "file"}) {
    SCOPED_TRACE(name);
    EXPECT_FALSE(is_engine(dir_.path() / name));
    const Error error = error_of([&] { write(dir_.path() / name); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message(), HasSubstr("exists and is not an engine; it is left alone"));
    EXPECT_THAT(error.hint(), HasSubstr("--output"));
  }
  EXPECT_EQ(contents_of(dir_.path()), before);
}

// Each damage below must be refused with the path of the damaged file and the remedy.
class DamagedEngineTest : public EngineTest {
 protected:
  DamagedEngineTest() {
    const unsigned seed = std::random_device()();
    RecordProperty("seed", std::to_string(seed));
    random_.seed(seed);
    write(target());
    files_ = contents_of(target());
  }

  void put(const std::string& name, std::string_view bytes) {
    write_file((target() / name).string(), bytes);
  }

  void expect_refused(const std::string& name,
                      const testing::Matcher<const std::string&>& problem) {
    const Error error = error_of([&] { open(target()); });
    EXPECT_THAT(error.message(), AllOf(HasSubstr((target() / name).string()), problem));
    EXPECT_THAT(error.hint(), HasSubstr("build the engine again"));
  }

  std::map<std::string, std::string> files_;
  std::mt19937 random_;
};

TEST_F(DamagedEngineTest, OneFlippedBitInAnyFile) {
  for (const auto& [name, bytes] : files_) {
    if (name == "manifest.json") continue;
    for (int round = 0; round < 3; ++round) {
      SCOPED_TRACE(name);
      std::string altered = bytes;
      altered[random_() % altered.size()] ^= static_cast<char>(1 << (random_() % 8));
      put(name, altered);
      expect_refused(name, HasSubstr("was altered"));
    }
    put(name, bytes);
  }
  EXPECT_NO_THROW(open(target()));
}

TEST_F(DamagedEngineTest, AnyFlippedBitInTheManifest) {
  const std::string text = files_.at("manifest.json");
  EXPECT_NO_THROW(parse_manifest(text, "m"));
  for (size_t i = 0; i < text.size(); ++i) {
    std::string altered = text;
    altered[i] ^= static_cast<char>(1 << (random_() % 8));
    const Error error = error_of([&] { parse_manifest(altered, "dir/manifest.json"); });
    EXPECT_THAT(error.message(), HasSubstr("dir/manifest.json")) << i;
    EXPECT_THAT(error.hint(), HasSubstr(kRebuild)) << i;
  }
}

TEST_F(DamagedEngineTest, AnyFileTruncated) {
  for (const auto& [name, bytes] : files_) {
    for (const size_t size : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      SCOPED_TRACE(name);
      put(name, std::string_view(bytes).substr(0, size));
      expect_refused(name, AnyOf(HasSubstr("is truncated"), HasSubstr("not valid JSON"),
                                 HasSubstr("was altered")));
    }
    put(name, bytes);
  }
  EXPECT_NO_THROW(open(target()));
}

TEST_F(DamagedEngineTest, AnyFileWithMoreBytes) {
  for (const auto& [name, bytes] : files_) {
    put(name, bytes + "\n");
    expect_refused(name, HasSubstr("was altered"));
    put(name, bytes);
  }
}

TEST_F(DamagedEngineTest, AnyFileMissing) {
  for (const auto& [name, bytes] : files_) {
    SCOPED_TRACE(name);
    fs::remove(target() / name);
    EXPECT_TRUE(is_engine(target()));
    expect_refused(name, HasSubstr("is missing"));
    fs::create_directory(target() / name);  // a directory is no file either
    expect_refused(name, HasSubstr("is missing"));
    fs::remove(target() / name);
    put(name, bytes);
  }
}

TEST_F(DamagedEngineTest, APipeInPlaceOfAFile) {
  fs::remove(target() / "tokenizer.json");
  ASSERT_EQ(::mkfifo((target() / "tokenizer.json").c_str(), 0600), 0);
  expect_refused("tokenizer.json", HasSubstr("is missing"));
}

TEST_F(DamagedEngineTest, ANewerFormat) {
  EngineManifest manifest = open(target()).manifest;
  manifest.format_version = kEngineFormatVersion + 1;
  manifest.millrace_version = "9.8.7";
  put_manifest(manifest);
  EXPECT_EQ(error_of([&] { open(target()); }).code(), ErrorCode::kUnsupported);
  expect_refused("manifest.json", AllOf(HasSubstr("has engine format 2, written by millrace 9.8.7"),
                                        HasSubstr("which reads up to 1")));
}

// A later version may change everything but the first three fields.
TEST_F(DamagedEngineTest, ANewerFormatOfAnotherShape) {
  put("manifest.json",
      R"({"format": "millrace-engine", "format_version": 3, "millrace_version": "9.8.7", "x": []})");
  expect_refused("manifest.json", HasSubstr("has engine format 3, written by millrace 9.8.7"));
}

TEST_F(DamagedEngineTest, AForeignManifest) {
  for (const char* text : {"{}", R"({"format": "other", "format_version": 1})",
                           R"({"format": null})", R"({"manifest_version": 3})"}) {
    put("manifest.json", text);
    expect_refused("manifest.json", HasSubstr("was not written by Millrace"));
  }
}

TEST_F(DamagedEngineTest, AManifestWithoutANeededFile) {
  const EngineManifest whole = open(target()).manifest;
  for (const char* needed :
       {"config.json", "hf_config.json", "tokenizer.json", "rank0.safetensors"}) {
    EngineManifest manifest = whole;
    std::erase_if(manifest.files, [&](const FileIdentity& file) { return file.name == needed; });
    put_manifest(manifest);
    expect_refused("manifest.json", HasSubstr(std::string("does not list ") + needed));
  }
}

TEST_F(DamagedEngineTest, AManifestThatLeavesItsDirectory) {
  const EngineManifest whole = open(target()).manifest;
  dir_.write("outside", "x");
  for (const char* name : {"../outside", "/etc/hostname", "1_Pooling/../../outside", "..", ""}) {
    EngineManifest manifest = whole;
    manifest.files.push_back({.name = name, .bytes = 1, .sha256 = {sha256_hex("x")}});
    put_manifest(manifest);
    expect_refused("manifest.json", HasSubstr("is not a file of this directory"));
  }
}

TEST_F(DamagedEngineTest, UnlistedFilesAreNotRead) {
  EngineManifest manifest = open(target()).manifest;
  std::erase_if(manifest.files,
                [](const FileIdentity& file) { return file.name == "modules.json"; });
  put_manifest(manifest);
  put("special_tokens_map.json", "{}");
  const Engine engine = open(target());
  EXPECT_THAT(engine.files.config_texts, Not(Contains(Key("modules.json"))));
  EXPECT_THAT(engine.files.config_texts, Not(Contains(Key("special_tokens_map.json"))));
}

struct BadManifest {
  const char* from;
  const char* to;
  const char* problem;
};

TEST_F(DamagedEngineTest, MalformedFieldsAreNamed) {
  for (const auto& [from, to, problem] : {
           BadManifest{"\"format_version\": 1", "\"format_version\": 0",
                       "format_version: 0 is outside"},
           BadManifest{"\"format_version\": 1", "\"format_version\": \"1\"",
                       "format_version: expected an integer"},
           BadManifest{"\"piece_bytes\": 67108864", "\"piece_bytes\": 1",
                       "has another piece_bytes than its format version"},
           BadManifest{"\"architecture\"", "\"architekture\"", "architecture: missing"},
           BadManifest{"\"targets\": [", "\"targets\": [1,", "targets: expected strings"},
           BadManifest{"\"files\": [", "\"files\": 1, \"x\": [", "files: expected a list of files"},
           BadManifest{"\"bytes\": ", "\"bytes\": -", "bytes: -"},
           BadManifest{"\"sha256\": [", "\"sha256\": [3,", "sha256: expected strings"},
           BadManifest{"\"embeddings.LayerNorm\": \"F32\"", "\"embeddings.LayerNorm\": 1",
                       "formats: embeddings.LayerNorm: expected a string"},
       }) {
    SCOPED_TRACE(to);
    std::string text = files_.at("manifest.json");
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    put("manifest.json", text.replace(at, std::strlen(from), to));
    expect_refused("manifest.json", HasSubstr(problem));
  }
}

TEST(FileIdentityTest, LargeFilesAreHashedInPieces) {
  const TempDir dir;
  dir.write("large", "start");
  const uint64_t size = FileIdentity::kPieceBytes + 3;
  fs::resize_file(dir / "large", size);
  ThreadPool pool(2);
  const FileIdentity identity = identify_file(dir.path(), "large", pool);
  EXPECT_EQ(identity.bytes, size);
  std::string first(FileIdentity::kPieceBytes, '\0');
  first.replace(0, 5, "start");
  EXPECT_THAT(identity.sha256,
              ElementsAre(sha256_hex(first), sha256_hex(std::string_view("\0\0\0", 3))));
}

TEST(FileIdentityTest, AnEmptyFileHasOnePiece) {
  const TempDir dir;
  dir.write("empty", "");
  ThreadPool pool(1);
  EXPECT_THAT(identify_file(dir.path(), "empty", pool).sha256, ElementsAre(sha256_hex("")));
}

}  // namespace
}  // namespace millrace
