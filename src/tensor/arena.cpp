// Bump allocation with a measured peak.
#include "tensor/arena.h"

namespace millrace {

Tensor Arena::allocate(DType dtype, const Shape& shape) {
  const int64_t bytes = shape.numel() * size_of(dtype);
  const int64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  CHECK(used_ + rounded <= capacity_, "the arena has {} bytes, {} in use, {} more wanted",
        capacity_, used_, rounded);
  void* data = base_ ? static_cast<std::byte*>(base_) + used_ : nullptr;
  used_ += rounded;
  peak_ = std::max(peak_, used_);
  return Tensor::contiguous(data, dtype, shape, device_);
}

}  // namespace millrace
