// Views, slices and printing of tensors.
#include "tensor/tensor.h"

namespace millrace {

std::string to_string(Device device) {
  return device.kind == DeviceKind::kCpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

std::string to_string(const Tensor& tensor) {
  return fmt::format("{}{} on {}", to_string(tensor.dtype), to_string(tensor.shape),
                     to_string(tensor.device));
}

Tensor Tensor::contiguous(void* data, DType dtype, const Shape& shape, Device device) {
  int64_t row_stride = 1;
  for (int dim = 1; dim < shape.rank(); ++dim) row_stride *= shape[dim];
  return {.data = data, .dtype = dtype, .shape = shape, .row_stride = row_stride, .device = device};
}

bool Tensor::is_contiguous() const {
  return shape.rank() == 0 || shape[0] <= 1 || row_stride * shape[0] == numel();
}

Tensor Tensor::slice_rows(int64_t begin, int64_t end) const {
  CHECK(0 <= begin && begin <= end && end <= rows(), "rows {}..{} of {}", begin, end,
        to_string(*this));
  std::array<int64_t, Shape::kMaxRank> sizes{};
  for (int dim = 0; dim < shape.rank(); ++dim) sizes[static_cast<size_t>(dim)] = shape[dim];
  sizes[0] = end - begin;
  Tensor out = *this;
  out.shape = Shape(std::span(sizes.data(), static_cast<size_t>(shape.rank())));
  if (data) out.data = static_cast<std::byte*>(data) + begin * row_stride * size_of(dtype);
  return out;
}

Tensor Tensor::slice_columns(int64_t begin, int64_t end) const {
  CHECK(shape.rank() == 2 && 0 <= begin && begin <= end && end <= columns(), "columns {}..{} of {}",
        begin, end, to_string(*this));
  Tensor out = *this;
  out.shape = Shape{rows(), end - begin};
  if (data) out.data = static_cast<std::byte*>(data) + begin * size_of(dtype);
  return out;
}

}  // namespace millrace
