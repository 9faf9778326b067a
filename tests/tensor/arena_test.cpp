// The arena: alignment, scopes, the measured peak, and its refusal to go past the plan.
#include "tensor/arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"
#include "tensor/buffer.h"

namespace millrace {
namespace {

using testing::HasSubstr;

TEST(ArenaTest, AllocationsFollowEachOtherAligned) {
  const Buffer memory = Buffer::host(1024);
  Arena arena(memory.data(), 1024, Device{});
  const Tensor a = arena.allocate(DType::kF32, {3});
  const Tensor b = arena.allocate(DType::kF32, {65});
  EXPECT_EQ(a.data, memory.data());
  EXPECT_EQ(static_cast<std::byte*>(b.data) - static_cast<std::byte*>(a.data), Arena::kAlignment);
  EXPECT_EQ(arena.used(), 256 + 512);
  EXPECT_EQ(b.shape, (Shape{65}));
  EXPECT_TRUE(b.is_contiguous());
}

TEST(ArenaTest, ScopesGiveBackAndThePeakRemains) {
  Arena arena(nullptr, 4096, Device{});
  arena.allocate(DType::kU8, {256});
  {
    const ArenaScope outer(arena);
    arena.allocate(DType::kU8, {256});
    {
      const ArenaScope inner(arena);
      arena.allocate(DType::kU8, {512});
      EXPECT_EQ(arena.used(), 1024);
    }
    EXPECT_EQ(arena.used(), 512);
  }
  EXPECT_EQ(arena.used(), 256);
  EXPECT_EQ(arena.peak(), 1024);
  arena.reset();
  EXPECT_EQ(arena.used(), 0);
  EXPECT_EQ(arena.peak(), 1024);
}

TEST(ArenaTest, MemoryIsReusedAfterAScope) {
  const Buffer memory = Buffer::host(512);
  Arena arena(memory.data(), 512, Device{});
  void* first = nullptr;
  {
    const ArenaScope scope(arena);
    first = arena.allocate(DType::kU8, {256}).data;
  }
  EXPECT_EQ(arena.allocate(DType::kU8, {256}).data, first);
}

TEST(ArenaTest, WithoutMemoryItOnlyMeasures) {
  const Device device{.kind = DeviceKind::kCuda, .index = 2};
  Arena arena(nullptr, INT64_MAX, device);
  const Tensor tensor = arena.allocate(DType::kF32, {int64_t{1} << 40, 1000});
  EXPECT_EQ(tensor.data, nullptr);
  EXPECT_EQ(tensor.device, device);
  EXPECT_EQ(arena.peak(), (int64_t{1} << 40) * 4000);
}

TEST(ArenaTest, NothingTakesNothing) {
  Arena arena(nullptr, 0, Device{});
  EXPECT_EQ(arena.allocate(DType::kF32, {0, 7}).numel(), 0);
  EXPECT_EQ(arena.peak(), 0);
}

TEST(ArenaTest, GoesNoFurtherThanItsCapacity) {
  Arena arena(nullptr, 512, Device{});
  arena.allocate(DType::kU8, {256});
  EXPECT_THAT(test::internal_error_of([&] { arena.allocate(DType::kU8, {257}); }),
              HasSubstr("the arena has 512 bytes, 256 in use, 512 more wanted"));
  EXPECT_NO_THROW(arena.allocate(DType::kU8, {256}));
}

TEST(ArenaTest, OverflowIsCaught) {
  Arena arena(nullptr, INT64_MAX, Device{});
  EXPECT_THAT(test::internal_error_of([&] { arena.allocate(DType::kF32, {int64_t{1} << 61}); }),
              HasSubstr("overflows"));
  EXPECT_THROW(arena.allocate(DType::kU8, {INT64_MAX}), InternalError);
  arena.allocate(DType::kU8, {INT64_MAX / 2});
  EXPECT_THROW(arena.allocate(DType::kU8, {INT64_MAX / 2 + 1024}), InternalError);
}

}  // namespace
}  // namespace millrace
