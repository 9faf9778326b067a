// Which files make up a checkpoint, and the directories that are refused.
#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "checkpoint/model_files.h"
#include "checkpoint/safetensors_bytes.h"
#include "checkpoint/source.h"
#include "support/errors.h"
#include "support/source_dir.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::safetensors_bytes;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;
using testing::SizeIs;
using testing::UnorderedElementsAre;

std::string golden(const std::string& name) {
  return test::source_dir().string() + "/tests/golden/" + name;
}

// A file with one tensor of four bytes 0, 1, 2, 3.
std::string one_tensor(const std::string& name) {
  return safetensors_bytes(
      "{\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4);
}

TEST(CheckpointTest, ReadsASingleFile) {
  const Checkpoint checkpoint = Checkpoint::from_directory(golden("bert_mean"));
  EXPECT_THAT(checkpoint.names(), SizeIs(53));
  ASSERT_NE(checkpoint.find("embeddings.LayerNorm.weight"), nullptr);
  EXPECT_EQ(checkpoint.find("embeddings.LayerNorm.weight")->shape, (Shape{72}));
  EXPECT_EQ(checkpoint.find("embeddings.LayerNorm"), nullptr);
  EXPECT_THAT(checkpoint.paths(), ElementsAre(golden("bert_mean/model.safetensors")));
}

TEST(CheckpointTest, ReadsShards) {
  const Checkpoint checkpoint = Checkpoint::from_directory(golden("bert_cls"));
  EXPECT_THAT(checkpoint.paths(), SizeIs(2));
  EXPECT_THAT(checkpoint.names(), SizeIs(40));
  EXPECT_NE(checkpoint.find("bert.embeddings.word_embeddings.weight"), nullptr);
  EXPECT_NE(checkpoint.find("bert.encoder.layer.1.output.dense.weight"), nullptr);
  int64_t bytes = 0;
  for (const std::string& name : checkpoint.names()) bytes += checkpoint.find(name)->bytes();
  EXPECT_EQ(checkpoint.bytes(), bytes);
}

TEST(CheckpointTest, TensorsSurviveAMove) {
  const TempDir dir;
  Checkpoint first = Checkpoint::from_file(dir.write("w.safetensors", one_tensor("t")));
  const Checkpoint second = std::move(first);
  EXPECT_EQ(second.find("t")->as<const std::byte>()[3], std::byte{3});
}

TEST(CheckpointTest, ValuesAtOddOffsetsAreAligned) {
  const TempDir dir;
  for (const char* spaces : {"", " ", "  ", "   "}) {
    const Checkpoint checkpoint = Checkpoint::from_file(
        dir.write("w.safetensors",
                  safetensors_bytes(
                      std::string(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                                  R"("b":{"dtype":"F32","shape":[1,2],"data_offsets":[3,11]}})") +
                          spaces,
                      11)));
    const Tensor* b = checkpoint.find("b");
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b->data) % 4, 0u);
    EXPECT_EQ(b->shape, (Shape{1, 2}));
    EXPECT_EQ(b->as<const std::byte>()[0], std::byte{3});
    EXPECT_EQ(b->as<const std::byte>()[7], std::byte{10});
  }
}

TEST(CheckpointTest, TheSingleFileLeadsOverAnIndex) {
  const TempDir dir;
  dir.write("model.safetensors", one_tensor("single"));
  dir.write("model.safetensors.index.json", R"({"weight_map": {"t": "none.safetensors"}})");
  EXPECT_THAT(Checkpoint::from_directory(dir.path().string()).names(), ElementsAre("single"));
}

struct BadIndex {
  std::string index;
  std::string problem;
};

TEST(CheckpointTest, RefusesABrokenIndex) {
  for (const auto& [index, problem] : {
           BadIndex{"{", "model.safetensors.index.json:1:2: not valid JSON"},
           BadIndex{"[]", "expected an object"},
           BadIndex{"{}", "weight_map is missing"},
           BadIndex{R"({"weight_map": ["a"]})", "weight_map: expected an object, found an array"},
           BadIndex{R"({"weight_map": {"t": 1}})", "weight_map: t: expected a string"},
           BadIndex{R"({"weight_map": {"t": "gone.safetensors"}})",
                    "names gone.safetensors, which is not there"},
           BadIndex{R"({"weight_map": {"t": "../a.safetensors"}})",
                    "shard name \"../a.safetensors\" is not a .safetensors file of its folder"},
           BadIndex{R"({"weight_map": {"t": "sub/a.safetensors"}})", "\"sub/a.safetensors\""},
           BadIndex{R"({"weight_map": {"t": "/a.safetensors"}})", "\"/a.safetensors\""},
           BadIndex{R"({"weight_map": {"t": ".."}})", "\"..\""},
           BadIndex{R"({"weight_map": {"t": ""}})", "\"\""},
           BadIndex{R"({"weight_map": {"t": "a.bin"}})", "\"a.bin\""},
           BadIndex{R"({"weight_map": {"t": "a.safetensors\u0000.safetensors"}})",
                    "is not a .safetensors file of its folder"},
           BadIndex{R"({"weight_map": {"t": "a.safetensors", "absent": "a.safetensors"}})",
                    "promises tensor absent, which no shard holds"},
           BadIndex{R"({"weight_map": {"t": "a.safetensors", "u": "b.safetensors"}})",
                    "tensor t is in"},
       }) {
    SCOPED_TRACE(index);
    const TempDir dir;
    dir.write("model.safetensors.index.json", index);
    dir.write("a.safetensors", one_tensor("t"));
    dir.write("b.safetensors", one_tensor("t"));
    const Error error = error_of([&] { Checkpoint::from_directory(dir.path().string()); });
    EXPECT_THAT(error.what(), AllOf(HasSubstr(dir.path().string()), HasSubstr(problem)));
  }
}

TEST(CheckpointTest, RefusesPickleWithTheReason) {
  for (const char* name : {"pytorch_model.bin", "model.pt", "model.pth", "last.ckpt"}) {
    const TempDir dir;
    dir.write(name, "PK");
    const Error error = error_of([&] { Checkpoint::from_directory(dir.path().string()); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.message(), AllOf(HasSubstr(name), HasSubstr("pickle"),
                                       HasSubstr("can run code when it is loaded")));
    EXPECT_THAT(error.hint(), HasSubstr("safe_serialization=True"));
  }
}

TEST(CheckpointTest, SaysThatThereAreNoWeights) {
  const TempDir dir;
  for (const std::string& path : {dir.path().string(), dir / "none"}) {
    const Error error = error_of([&] { Checkpoint::from_directory(path); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr(path + " has neither model.safetensors nor"));
  }
}

TEST(ModelFilesTest, OpensADirectoryAsItIs) {
  const ModelFiles files = open_hf_directory(golden("bert_cls"));
  EXPECT_THAT(files.config_texts,
              UnorderedElementsAre(
                  Key("config.json"), Key("modules.json"), Key("sentence_bert_config.json"),
                  Key("config_sentence_transformers.json"), Key("tokenizer_config.json"),
                  Key("1_Pooling/config.json"), Key("special_tokens_map.json")));
  EXPECT_EQ(files.tokenizer_json, read_file(golden("bert_cls/tokenizer.json")));
  EXPECT_EQ(files.naming, WeightNaming::kCheckpoint);
  EXPECT_THAT(files.weights.names(), SizeIs(40));
}

TEST(ModelFilesTest, ReadsTheModuleFoldersOfThisDirectoryAlone) {
  const TempDir dir;
  dir.write("outside/config.json", "{}");
  dir.write("model/modules.json",
            R"([{"type": "a.Pooling", "path": "pooled"}, {"path": "../outside"},
      {"path": ".."}, {"path": "/etc"}, {"path": ""}, {"path": "absent"}])");
  dir.write("model/pooled/config.json", R"({"pooling_mode": "mean"})");
  EXPECT_THAT(read_config_texts(dir.path() / "model"),
              UnorderedElementsAre(Key("modules.json"), Key("pooled/config.json")));
}

TEST(ModelFilesTest, NamesWhatIsMissing) {
  const TempDir dir;
  EXPECT_THAT(error_of([&] { open_hf_directory(dir.path() / "none"); }).what(),
              HasSubstr("none is not a directory"));
  dir.write("config.json", "{}");
  const Error error = error_of([&] { open_hf_directory(dir.path()); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("has no tokenizer.json"), HasSubstr("save_pretrained")));
}

TEST(SourceTest, ALocalDirectoryIsItself) {
  const TempDir dir;
  const ModelSource source{.kind = SourceKind::kLocal, .repo = dir.path().string()};
  EXPECT_EQ(open_source(source)->fetch({}), dir.path());
  const ModelSource none{.kind = SourceKind::kLocal, .repo = dir / "none"};
  EXPECT_THAT(error_of([&] { open_source(none)->fetch({}); }).what(),
              HasSubstr("none is not a directory"));
}

TEST(SourceTest, OtherSourcesAreRefusedByName) {
  for (SourceKind kind : {SourceKind::kGcs, SourceKind::kS3, SourceKind::kAzure,
                          SourceKind::kRemoteUrl, SourceKind::kBasetenTraining}) {
    const Error error = error_of([&] { open_source({.kind = kind, .repo = "some/place"}); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr(std::string(to_string(kind))), HasSubstr("some/place")));
  }
}

}  // namespace
}  // namespace millrace
