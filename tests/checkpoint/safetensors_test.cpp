// Every promise of the safetensors format broken in turn, good files, and the writer.
#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/json.h"
#include "checkpoint/safetensors_bytes.h"
#include "support/errors.h"
#include "support/source_dir.h"
#include "support/temp_dir.h"

namespace millrace {
namespace {

using test::error_of;
using test::length_bytes;
using test::safetensors_bytes;
using test::TempDir;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

SafetensorsHeader parse(std::string_view file, const SafetensorsLimits& limits = {}) {
  return parse_safetensors(std::as_bytes(std::span(file)), "dir/w.safetensors", limits);
}

struct BadFile {
  std::string name;     // of the case
  std::string file;     // its bytes
  std::string problem;  // a part of the message
};

// One tensor `t` whose description is `entry`.
BadFile bad_entry(std::string name, const std::string& entry, std::string problem,
                  size_t data_bytes = 8) {
  return {std::move(name), safetensors_bytes("{\"t\":" + entry + "}", data_bytes),
          std::move(problem)};
}

const std::string kTwo = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";

std::vector<BadFile> bad_files() {
  return {
      {"empty", "", "0 bytes is too short"},
      {"seven_bytes", std::string(7, '\0'), "7 bytes is too short"},
      {"no_header", length_bytes(0), "not valid JSON"},
      {"header_beyond_file", length_bytes(100) + "{}", "its header needs 100 bytes, 2 are there"},
      {"header_length_all_ones", length_bytes(UINT64_MAX) + "{}",
       "the header claims 18446744073709551615 bytes, the limit is 100000000"},
      {"header_above_cap", length_bytes(100'000'001) + "{}", "this is not a safetensors file"},
      {"a_pickle", "PK\x03\x04 archive/data.pkl", "this is not a safetensors file"},
      {"not_json", safetensors_bytes("{\"t\": }", 0), "not valid JSON"},
      {"text_after_json", safetensors_bytes("{} {}", 0), "not valid JSON"},
      {"an_array", safetensors_bytes("[]", 0), "expected an object, found an array"},
      {"too_deep", safetensors_bytes("{\"t\":{\"a\":[[[1]]]}}", 0), "not valid JSON"},
      {"name_not_utf8", safetensors_bytes("{\"\xff\":1}", 0), "not valid JSON"},

      bad_entry("entry_is_a_number", "3", "tensor t: dtype, shape or data_offsets is missing"),
      bad_entry("no_dtype", R"({"shape":[2],"data_offsets":[0,8]})",
                "tensor t: dtype, shape or data_offsets is missing"),
      bad_entry("no_shape", R"({"dtype":"F32","data_offsets":[0,8]})",
                "tensor t: dtype, shape or data_offsets is missing"),
      bad_entry("no_offsets", R"({"dtype":"F32","shape":[2]})",
                "tensor t: dtype, shape or data_offsets is missing"),
      bad_entry("dtype_is_a_number", R"({"dtype":32,"shape":[2],"data_offsets":[0,8]})",
                "tensor t: dtype, shape or data_offsets is missing or malformed"),
      bad_entry("shape_is_a_number", R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})",
                "tensor t: dtype, shape or data_offsets is missing or malformed"),
      bad_entry("one_offset", R"({"dtype":"F32","shape":[2],"data_offsets":[8]})",
                "tensor t: dtype, shape or data_offsets is missing or malformed"),
      bad_entry("three_offsets", R"({"dtype":"F32","shape":[2],"data_offsets":[0,4,8]})",
                "tensor t: dtype, shape or data_offsets is missing or malformed"),
      bad_entry("unknown_dtype", R"({"dtype":"F4","shape":[16],"data_offsets":[0,8]})",
                "tensor t has dtype F4, which this version does not read"),
      bad_entry("negative_extent", R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})",
                "tensor t: a size or an offset is not a non-negative integer"),
      bad_entry("fractional_extent", R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})",
                "tensor t: a size or an offset is not a non-negative integer"),
      bad_entry("extent_is_text", R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})",
                "tensor t: a size or an offset is not a non-negative integer"),
      bad_entry("rank_7", R"({"dtype":"F32","shape":[1,1,1,1,1,1,2],"data_offsets":[0,8]})",
                "tensor t has 7 dimensions, the limit is 6"),
      bad_entry("size_overflows",
                R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]})",
                "tensor t: its size overflows"),
      bad_entry("size_overflows_to_the_range",
                R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})",
                "tensor t: its size overflows", 0),
      bad_entry("extent_above_int64",
                R"({"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8]})",
                "tensor t: its size overflows"),
      bad_entry("extent_above_uint64",
                R"({"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,8]})",
                "tensor t: a size or an offset is not a non-negative integer"),
      bad_entry("empty_with_strides_that_overflow",
                R"({"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]})",
                "tensor t: its size overflows", 0),
      bad_entry("negative_offset", R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})",
                "tensor t: a size or an offset is not a non-negative integer"),
      bad_entry("offsets_swapped", R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})",
                "tensor t: data_offsets [8, 0) do not hold the 8 bytes of F32 [2]"),
      bad_entry("range_too_short", R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})",
                "tensor t: data_offsets [0, 4) do not hold the 8 bytes of F32 [2]"),
      bad_entry("range_too_long", R"({"dtype":"F16","shape":[2],"data_offsets":[0,8]})",
                "tensor t: data_offsets [0, 8) do not hold the 4 bytes of F16 [2]"),
      bad_entry("scalar_of_two", R"({"dtype":"F32","shape":[],"data_offsets":[0,8]})",
                "tensor t: data_offsets [0, 8) do not hold the 4 bytes of F32 []"),
      bad_entry(
          "offsets_near_2_64",
          R"({"dtype":"U8","shape":[8],"data_offsets":[18446744073709551607,18446744073709551615]})",
          "tensor t: its offsets overflow"),
      bad_entry("offsets_far_beyond",
                R"({"dtype":"U8","shape":[8],"data_offsets":[1099511627776,1099511627784]})",
                "the file is truncated: tensor t ends at byte"),
      bad_entry("data_cut", kTwo, "the file is truncated: tensor t ends at byte", 7),
      bad_entry("bytes_after_the_last", kTwo, "1 bytes follow the last tensor", 9),
      bad_entry("gap_at_the_start", R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})",
                "there is a gap before tensor t"),

      {"gap",
       safetensors_bytes(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                         R"("b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})",
                         5),
       "there is a gap before tensor b"},
      {"overlap",
       safetensors_bytes(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                         R"("b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]}})",
                         5),
       "tensor b overlaps the one before it"},
      {"same_range_twice",
       safetensors_bytes(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                         R"("b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})",
                         3),
       "tensor b overlaps the one before it"},
      {"empty_tensor_inside_another",
       safetensors_bytes(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                         R"("b":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
                         4),
       "tensor b overlaps the one before it"},
      {"no_tensor_for_the_data", safetensors_bytes("{}", 3), "3 bytes follow the last tensor"},

      {"name_twice", safetensors_bytes("{\"t\":" + kTwo + ",\"t\":" + kTwo + "}", 8),
       "tensor t is described twice"},
      {"name_twice_by_escape",
       safetensors_bytes("{\"t.w\":" + kTwo + ",\"\\u0074.w\":" + kTwo + "}", 8),
       "tensor t.w is described twice"},
      {"name_twice_other_kind", safetensors_bytes("{\"t\":\"t\",\"t\":" + kTwo + "}", 8),
       "tensor t is described twice"},
      bad_entry("dtype_twice", R"({"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]})",
                "tensor t: dtype is given twice"),

      {"metadata_is_text", safetensors_bytes(R"({"__metadata__":"x"})", 0), "expected an object"},
      {"metadata_holds_a_number", safetensors_bytes(R"({"__metadata__":{"format":1}})", 0),
       "__metadata__ holds something other than strings"},
  };
}

TEST(SafetensorsTest, RefusesMalformedFiles) {
  for (const BadFile& bad : bad_files()) {
    SCOPED_TRACE(bad.name);
    const Error error = error_of([&] { parse(bad.file); });
    EXPECT_THAT(error.what(), AllOf(HasSubstr("dir/w.safetensors"), HasSubstr(bad.problem)));
    EXPECT_EQ(error.code(),
              bad.name == "unknown_dtype" ? ErrorCode::kUnsupported : ErrorCode::kCorrupt);
  }
}

TEST(SafetensorsTest, EveryPrefixOfAFileIsRefused) {
  const std::string file = safetensors_bytes("{\"t\":" + kTwo + "}", 8);
  EXPECT_NO_THROW(parse(file));
  for (size_t size = 0; size < file.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THROW(parse(std::string_view(file).substr(0, size)), Error);
  }
}

TEST(SafetensorsTest, ItsOwnLimitsHold) {
  const std::string file =
      safetensors_bytes(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                        2);
  EXPECT_NO_THROW(parse(file, {.max_tensors = 2}));
  EXPECT_THROW(parse(file, {.max_header_bytes = 20}), Error);
  EXPECT_THAT(error_of([&] { parse(file, {.max_tensors = 0}); }).what(),
              HasSubstr("2 tensors, the limit is 0"));
}

TEST(SafetensorsTest, ReadsScalarsEmptyTensorsAndMetadata) {
  const std::string file =
      safetensors_bytes(R"( {"b":{"dtype":"BF16","shape":[],"data_offsets":[4,6]},)"
                        R"("empty":{"dtype":"F32","shape":[3,0],"data_offsets":[4,4]},)"
                        R"("__metadata__":{"format":"pt","note":""},)"
                        R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}   )",
                        6);
  const SafetensorsHeader header = parse(file);
  ASSERT_EQ(header.entries.size(), 3u);
  EXPECT_EQ(header.entries[0].name, "a");  // in file order, not in header order
  EXPECT_EQ(header.entries[1].name, "empty");
  EXPECT_EQ(header.entries[1].shape, (Shape{3, 0}));
  EXPECT_EQ(header.entries[2].name, "b");
  EXPECT_EQ(header.entries[2].dtype, DType::kBF16);
  EXPECT_EQ(header.entries[2].shape, Shape());
  EXPECT_EQ(header.entries[2].end, file.size());
  EXPECT_EQ(header.entries[2].begin, file.size() - 2);
  EXPECT_THAT(header.metadata, ElementsAre(Pair("format", "pt"), Pair("note", "")));
}

TEST(SafetensorsTest, AFileWithoutTensorsIsAFile) {
  EXPECT_THAT(parse(safetensors_bytes("{}", 0)).entries, IsEmpty());
}

TEST(SafetensorsFileTest, NamesItsPath) {
  const TempDir dir;
  const std::string path = dir.write("w.safetensors", "short");
  EXPECT_THAT(error_of([&] { SafetensorsFile file(path); }).what(), HasSubstr(path));
  EXPECT_EQ(error_of([&] { SafetensorsFile file(dir / "none"); }).code(), ErrorCode::kNotFound);
}

TEST(SafetensorsFileTest, ReadsWhatTheReferenceWriterWrote) {
  const SafetensorsFile file(test::source_dir().string() +
                             "/tests/golden/bert_mean/model.safetensors");
  EXPECT_EQ(file.header().entries.size(), 53u);
  bool found = false;
  for (const SafetensorsEntry& entry : file.header().entries) {
    EXPECT_EQ(entry.dtype, DType::kF32);
    if (entry.name != "embeddings.word_embeddings.weight") continue;
    found = true;
    EXPECT_EQ(entry.shape, (Shape{320, 72}));
    EXPECT_EQ(file.tensor(entry).as<const float>().size(), 320u * 72u);
  }
  EXPECT_TRUE(found);
}

class WriteSafetensorsTest : public testing::Test {
 protected:
  WriteSafetensorsTest() {
    const unsigned seed = std::random_device()();
    RecordProperty("seed", std::to_string(seed));
    std::mt19937 random(seed);
    for (float& value : values_) value = static_cast<float>(random());
  }

  Tensor rows(int64_t begin, int64_t end) {
    return Tensor::contiguous(values_.data(), DType::kF32, {12, 2}).slice_rows(begin, end);
  }

  std::vector<SafetensorsItem> items() {
    return {
        {.name = "w", .dtype = DType::kF32, .shape = {5, 2}, .parts = {rows(3, 4), rows(8, 12)}},
        {.name = "a\"\n", .dtype = DType::kF32, .shape = {2}, .parts = {rows(0, 1)}},
        {.name = "empty", .dtype = DType::kBF16, .shape = {0, 4}, .parts = {}}};
  }

  TempDir dir_;
  std::vector<float> values_ = std::vector<float>(24);
};

TEST_F(WriteSafetensorsTest, ConcatenatesPartsAndReadsBack) {
  write_safetensors(dir_ / "w", items(), {{"format", "test"}});
  const SafetensorsFile file(dir_ / "w");
  EXPECT_THAT(file.header().metadata, ElementsAre(Pair("format", "test")));
  ASSERT_EQ(file.header().entries.size(), 3u);
  for (const SafetensorsEntry& entry : file.header().entries) {
    if (entry.name != "w") continue;
    const auto written = file.tensor(entry).as<const float>();
    ASSERT_EQ(written.size(), 10u);
    EXPECT_EQ(std::memcmp(written.data(), values_.data() + 6, 8), 0);
    EXPECT_EQ(std::memcmp(written.data() + 2, values_.data() + 16, 32), 0);
  }
}

TEST_F(WriteSafetensorsTest, TheDataStartsOnALineAfterAPaddedHeader) {
  for (const char* note : {"", "x", "xx", "a longer note that moves the end of the header"}) {
    write_safetensors(dir_ / "w", items(), {{"note", note}});
    const std::string bytes = read_file(dir_ / "w");
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), 8);
    EXPECT_EQ((8 + header_bytes) % 64, 0u);
    EXPECT_EQ(bytes[8], '{');
    EXPECT_TRUE(json::parse(bytes.substr(8, header_bytes), "header").is_object());
    EXPECT_EQ(bytes.size(), 8 + header_bytes + 48);
  }
}

TEST_F(WriteSafetensorsTest, TheSameItemsGiveTheSameBytesAndAllAreReported) {
  std::string reported;
  write_safetensors(dir_ / "one", items(), {{"b", "2"}, {"a", "1"}},
                    [&](std::span<const std::byte> bytes) {
                      reported.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                    });
  write_safetensors(dir_ / "two", items(), {{"a", "1"}, {"b", "2"}});
  EXPECT_EQ(read_file(dir_ / "one"), read_file(dir_ / "two"));
  EXPECT_EQ(read_file(dir_ / "one"), reported);
}

TEST_F(WriteSafetensorsTest, PartsMustMakeUpTheTensor) {
  const auto write = [&](SafetensorsItem item) {
    write_safetensors(dir_ / "w", {std::move(item)}, {});
  };
  EXPECT_THROW(write({.name = "w", .dtype = DType::kF32, .shape = {5, 2}, .parts = {rows(0, 4)}}),
               InternalError);
  EXPECT_THROW(write({.name = "w", .dtype = DType::kF16, .shape = {4, 2}, .parts = {rows(0, 4)}}),
               InternalError);
  EXPECT_THROW(
      write({.name = "__metadata__", .dtype = DType::kF32, .shape = {4, 2}, .parts = {rows(0, 4)}}),
      InternalError);
}

TEST_F(WriteSafetensorsTest, ANameIsWrittenOnce) {
  auto twice = items();
  twice.push_back(twice.front());
  EXPECT_THROW(write_safetensors(dir_ / "w", twice, {}), InternalError);
}

}  // namespace
}  // namespace millrace
