// Shapes, views and slices.
#include "tensor/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "support/errors.h"
#include "tensor/buffer.h"

namespace millrace {
namespace {

using test::internal_error_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ShapeTest, KnowsItsSizes) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(shape[-3], 2);
  EXPECT_EQ(shape.numel(), 24);
  EXPECT_THAT(shape.sizes(), ElementsAre(2, 3, 4));
  EXPECT_EQ(to_string(shape), "[2, 3, 4]");
}

TEST(ShapeTest, AScalarHasOneElement) {
  EXPECT_EQ(Shape().rank(), 0);
  EXPECT_EQ(Shape().numel(), 1);
  EXPECT_EQ(to_string(Shape()), "[]");
  EXPECT_EQ((Shape{3, 0, 2}).numel(), 0);
}

TEST(ShapeTest, EqualityLooksAtRankAndSizes) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
  EXPECT_FALSE((Shape{2}) == (Shape{2, 0}));
  EXPECT_FALSE(Shape() == (Shape{0}));
}

TEST(ShapeTest, ChecksRankIndexAndOverflow) {
  EXPECT_NO_THROW((Shape{1, 1, 1, 1, 1, 1}));
  EXPECT_THAT(internal_error_of([] { Shape{1, 1, 1, 1, 1, 1, 1}; }),
              HasSubstr("rank 7 is above 6"));
  EXPECT_THAT(internal_error_of([] {
                (void)(Shape{2, 3})[2];
              }),
              HasSubstr("dimension 2 of [2, 3]"));
  EXPECT_THROW((void)(Shape{2, 3})[-3], InternalError);
  EXPECT_THROW((void)(Shape{INT64_MAX, 2}).numel(), InternalError);
}

TEST(DeviceTest, HasAName) {
  EXPECT_EQ(to_string(Device{}), "cpu");
  EXPECT_EQ(to_string(Device{.kind = DeviceKind::kCuda, .index = 1}), "cuda:1");
}

class TensorTest : public testing::Test {
 protected:
  TensorTest() { std::iota(values_.begin(), values_.end(), 0.0f); }

  std::vector<float> values_ = std::vector<float>(12);
  Tensor matrix_ = Tensor::contiguous(values_.data(), DType::kF32, {3, 4});
};

TEST_F(TensorTest, ContiguousTensorsShowTheirValues) {
  EXPECT_EQ(matrix_.rows(), 3);
  EXPECT_EQ(matrix_.columns(), 4);
  EXPECT_EQ(matrix_.row_stride, 4);
  EXPECT_EQ(matrix_.bytes(), 48);
  EXPECT_TRUE(matrix_.is_contiguous());
  EXPECT_EQ(matrix_.as<const float>().size(), 12u);
  EXPECT_EQ(matrix_.as<const float>()[11], 11.0f);
  EXPECT_EQ(matrix_.as<std::byte>().size(), 48u);
  EXPECT_EQ(to_string(matrix_), "F32[3, 4] on cpu");
  EXPECT_EQ(Tensor::contiguous(nullptr, DType::kF32, {2, 3, 4}).row_stride, 12);
}

TEST_F(TensorTest, ReadsOnlyAsItsOwnType) {
  EXPECT_THAT(internal_error_of([&] { matrix_.as<double>(); }),
              HasSubstr("F32[3, 4] on cpu read as another type"));
  EXPECT_THROW(matrix_.as<int32_t>(), InternalError);
  EXPECT_THROW(matrix_.as<uint16_t>(), InternalError);
  matrix_.dtype = DType::kI32;
  EXPECT_NO_THROW(matrix_.as<int32_t>());
  EXPECT_THROW(matrix_.as<float>(), InternalError);
}

TEST_F(TensorTest, ATensorOfAPlanHasNoValues) {
  EXPECT_THROW(Tensor::contiguous(nullptr, DType::kF32, {2}).as<float>(), InternalError);
  EXPECT_THAT(Tensor::contiguous(nullptr, DType::kF32, {0}).as<float>(), IsEmpty());
}

TEST_F(TensorTest, RowsOfRowsAreContiguous) {
  const Tensor rows = matrix_.slice_rows(1, 3);
  EXPECT_TRUE(rows.is_contiguous());
  EXPECT_EQ(rows.shape, (Shape{2, 4}));
  EXPECT_EQ(rows.as<float>().front(), 4.0f);
  EXPECT_EQ(rows.as<float>().back(), 11.0f);
  EXPECT_EQ(matrix_.slice_rows(3, 3).numel(), 0);
}

TEST_F(TensorTest, ColumnsKeepTheRowStride) {
  const Tensor columns = matrix_.slice_columns(1, 3);
  EXPECT_EQ(columns.shape, (Shape{3, 2}));
  EXPECT_EQ(columns.row_stride, 4);
  EXPECT_FALSE(columns.is_contiguous());
  EXPECT_THROW(columns.as<float>(), InternalError);
  const Tensor row = columns.slice_rows(2, 3);
  EXPECT_TRUE(row.is_contiguous());
  EXPECT_THAT(row.as<float>(), ElementsAre(9.0f, 10.0f));
  EXPECT_TRUE(matrix_.slice_columns(0, 4).is_contiguous());
}

TEST_F(TensorTest, SlicesOfVectorsAndHigherRanks) {
  const Tensor vector = Tensor::contiguous(values_.data(), DType::kF32, {12}).slice_rows(5, 7);
  EXPECT_THAT(vector.as<float>(), ElementsAre(5.0f, 6.0f));
  const Tensor cube = Tensor::contiguous(values_.data(), DType::kF32, {3, 2, 2}).slice_rows(1, 2);
  EXPECT_THAT(cube.as<float>(), ElementsAre(4.0f, 5.0f, 6.0f, 7.0f));
}

TEST_F(TensorTest, SlicesOfAPlanStayWithoutValues) {
  const Tensor planned = Tensor::contiguous(nullptr, DType::kF32, {3, 4});
  EXPECT_EQ(planned.slice_rows(1, 2).data, nullptr);
  EXPECT_EQ(planned.slice_columns(1, 2).data, nullptr);
}

TEST_F(TensorTest, SlicesStayInside) {
  EXPECT_THAT(internal_error_of([&] { matrix_.slice_rows(2, 4); }),
              HasSubstr("rows 2..4 of F32[3, 4]"));
  EXPECT_THROW(matrix_.slice_rows(-1, 2), InternalError);
  EXPECT_THROW(matrix_.slice_rows(2, 1), InternalError);
  EXPECT_THROW(matrix_.slice_columns(0, 5), InternalError);
  EXPECT_THROW(Tensor::contiguous(values_.data(), DType::kF32, {12}).slice_columns(0, 1),
               InternalError);
}

TEST(BufferTest, HostMemoryIsAlignedToALine) {
  for (int64_t bytes : {0, 1, 63, 64, 65, 1000}) {
    const Buffer buffer = Buffer::host(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    EXPECT_EQ(buffer.bytes(), bytes);
  }
}

TEST(BufferTest, IsFreedOnceAndMoves) {
  int freed = 0;
  int memory = 0;
  {
    Buffer first(&memory, 4, Device{}, [&](void* data) {
      EXPECT_EQ(data, &memory);
      ++freed;
    });
    Buffer second = std::move(first);
    EXPECT_EQ(second.data(), &memory);
    EXPECT_EQ(first.data(), nullptr);
    EXPECT_EQ(freed, 0);
  }
  EXPECT_EQ(freed, 1);
}

TEST(BufferTest, NoMemoryIsAnErrorWithItsSize) {
  const Error error = test::error_of([] { Buffer::host(int64_t{1} << 60); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_THAT(error.what(), HasSubstr("1152921504606846976 bytes"));
  EXPECT_THROW(Buffer::host(INT64_MAX), Error);
}

}  // namespace
}  // namespace millrace
