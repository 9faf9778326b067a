// Bump allocation with a measured peak.
#include "tensor/arena.h"

namespace millrace {

Tensor Arena::allocate(DType dtype, const Shape& shape) {
  int64_t rounded = 0;  // bytes, up to a multiple of the alignment
  CHECK(!__builtin_mul_overflow(shape.numel(), size_of(dtype), &rounded) &&
            !__builtin_add_overflow(rounded, kAlignment - 1, &rounded),
        "{}{} overflows", to_string(dtype), to_string(shape));
  rounded -= rounded % kAlignment;
  CHECK(rounded <= capacity_ - used_, "the arena has {} bytes, {} in use, {} more wanted",
        capacity_, used_, rounded);
  void* data = base_ ? static_cast<std::byte*>(base_) + used_ : nullptr;
  used_ += rounded;
  peak_ = std::max(peak_, used_);
  return Tensor::contiguous(data, dtype, shape, device_);
}

}  // namespace millrace
