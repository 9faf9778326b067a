// The table of element types, and the sizes of weight formats.
#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tensor/weight_format.h"

namespace millrace {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  int64_t size;
  bool is_float;
};

TEST(DTypeTest, SaysWhatSafetensorsSays) {
  const std::vector<Row> rows = {
      {DType::kF64, "F64", 8, true},        {DType::kF32, "F32", 4, true},
      {DType::kF16, "F16", 2, true},        {DType::kBF16, "BF16", 2, true},
      {DType::kI64, "I64", 8, false},       {DType::kI32, "I32", 4, false},
      {DType::kI16, "I16", 2, false},       {DType::kI8, "I8", 1, false},
      {DType::kU8, "U8", 1, false},         {DType::kBool, "BOOL", 1, false},
      {DType::kF8E4M3, "F8_E4M3", 1, true}, {DType::kF8E5M2, "F8_E5M2", 1, true},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(to_string(row.dtype), row.name);
    EXPECT_EQ(dtype_from_safetensors(row.name), row.dtype);
    EXPECT_EQ(size_of(row.dtype), row.size);
    EXPECT_EQ(is_float(row.dtype), row.is_float);
  }
  EXPECT_THROW(to_string(static_cast<DType>(rows.size())), InternalError);
}

TEST(DTypeTest, UnknownNamesAreNoDType) {
  for (const char* name : {"", "f32", "F4", "F32 ", "FLOAT", "U64"}) {
    EXPECT_EQ(dtype_from_safetensors(name), std::nullopt) << name;
  }
}

TEST(ComputeDTypeTest, NamesRoundTrip) {
  for (const char* name : {"auto", "fp32", "fp16", "bf16"}) {
    const auto dtype = compute_dtype_from_name(name);
    ASSERT_TRUE(dtype) << name;
    EXPECT_EQ(to_string(*dtype), name);
  }
  EXPECT_EQ(compute_dtype_from_name("float32"), std::nullopt);
}

TEST(WeightFormatTest, PlainFormatsAreTheirDType) {
  const WeightFormat format{.dtype = DType::kBF16};
  EXPECT_TRUE(format.is_plain());
  EXPECT_EQ(to_string(format), "BF16");
  EXPECT_EQ(format.bytes(3, 5), 3 * 5 * 2);
}

TEST(WeightFormatTest, BlocksCountTheirScalesAndZeros) {
  const WeightFormat blocks{
      .dtype = DType::kF8E4M3, .block_rows = 128, .block_columns = 64, .scale_dtype = DType::kF32};
  EXPECT_FALSE(blocks.is_plain());
  EXPECT_EQ(to_string(blocks), "F8_E4M3/128x64:F32");
  EXPECT_EQ(blocks.bytes(256, 128), 256 * 128 + 2 * 2 * 4);
  EXPECT_EQ(blocks.bytes(257, 129), 257 * 129 + 3 * 3 * 4);  // begun blocks have scales too

  const WeightFormat per_row{.dtype = DType::kI8,
                             .block_rows = 1,
                             .block_columns = 0,
                             .scale_dtype = DType::kF16,
                             .zero_dtype = DType::kI8};
  EXPECT_EQ(to_string(per_row), "I8/1x0:F16+I8");
  EXPECT_EQ(per_row.bytes(10, 7), 10 * 7 + 10 * (2 + 1));
}

}  // namespace
}  // namespace millrace
