// Symbolic sizes bind once, and a mismatch names op, tensor and sizes.
#include "tensor/shape_matcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"

namespace millrace {
namespace {

using test::internal_error_of;
using testing::AllOf;
using testing::HasSubstr;

Tensor planned(const Shape& shape, Device device = {}) {
  return Tensor::contiguous(nullptr, DType::kF32, shape, device);
}

TEST(ShapeMatcherTest, BindsNamesAcrossTensors) {
  ShapeMatcher m("add_layer_norm", Device{});
  m.match("hidden", planned({7, 384}), {"tokens", "hidden"})
      .match("gamma", planned({384}), {"hidden"})
      .match("mask", planned({7, 1}), {"tokens", 1});
  EXPECT_EQ(m["tokens"], 7);
  EXPECT_EQ(m["hidden"], 384);
}

TEST(ShapeMatcherTest, ANameMeansOneSize) {
  ShapeMatcher m("add_layer_norm", Device{});
  m.match("hidden", planned({7, 384}), {"tokens", "hidden"});
  EXPECT_THAT(internal_error_of([&] { m.match("gamma", planned({383}), {"hidden"}); }),
              HasSubstr("add_layer_norm: gamma is F32[383] on cpu, dimension 0 (hidden) must be "
                        "384"));
}

TEST(ShapeMatcherTest, ANameMeansOneSizeWithinATensorToo) {
  ShapeMatcher m("square", Device{});
  EXPECT_NO_THROW(m.match("a", planned({4, 4}), {"n", "n"}));
  ShapeMatcher other("square", Device{});
  EXPECT_THROW(other.match("a", planned({4, 5}), {"n", "n"}), InternalError);
}

TEST(ShapeMatcherTest, FixedSizesAndRanksAreChecked) {
  ShapeMatcher m("op", Device{});
  EXPECT_THAT(internal_error_of([&] {
                m.match("x", planned({2, 3}), {2, 4});
              }),
              HasSubstr("op: x is F32[2, 3] on cpu, dimension 1 () must be 4"));
  EXPECT_THAT(internal_error_of([&] {
                m.match("x", planned({2, 3}), {"rows"});
              }),
              AllOf(HasSubstr("op: x is F32[2, 3] on cpu"), HasSubstr("expected rank 1")));
}

TEST(ShapeMatcherTest, TensorsLieOnTheDeviceOfTheOp) {
  ShapeMatcher m("op", Device{});
  const Device gpu{.kind = DeviceKind::kCuda, .index = 0};
  EXPECT_THAT(internal_error_of([&] { m.match("x", planned({2}, gpu), {"rows"}); }),
              HasSubstr("op: x is F32[2] on cuda:0, the op runs on cpu"));
}

TEST(ShapeMatcherTest, UnboundNamesHaveNoSize) {
  const ShapeMatcher m("op", Device{});
  EXPECT_THAT(internal_error_of([&] { (void)m["rows"]; }),
              HasSubstr("op: no dimension is named rows"));
}

}  // namespace
}  // namespace millrace
