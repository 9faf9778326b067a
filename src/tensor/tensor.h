// Tensor: a non-owning view of typed, strided memory on a device.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/error.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace millrace {

enum class DeviceKind : uint8_t { kCpu, kCuda };

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

std::string to_string(Device device);  // "cpu", "cuda:1"

// The memory of a row of a 2-d tensor is contiguous; rows may be apart (a slice of columns).
// `data` is null in tensors of a plan, which have shapes and no values.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  Shape shape;
  int64_t row_stride = 0;  // elements from one index of dimension 0 to the next
  Device device;

  static Tensor contiguous(void* data, DType dtype, const Shape& shape, Device device = {});

  int64_t rows() const { return shape[0]; }
  int64_t columns() const { return shape[-1]; }
  int64_t numel() const { return shape.numel(); }
  int64_t bytes() const { return numel() * size_of(dtype); }  // of the values, without gaps
  bool is_contiguous() const;

  Tensor slice_rows(int64_t begin, int64_t end) const;     // dimension 0
  Tensor slice_columns(int64_t begin, int64_t end) const;  // last dimension of a 2-d tensor

  // The values as `T`, whose type must match the dtype; contiguous tensors only.
  template <typename T>
  std::span<T> as() const;
};

std::string to_string(const Tensor& tensor);  // "F32[128, 384] on cpu"

namespace detail {
template <typename T>
constexpr bool matches(DType dtype) {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, float>) return dtype == DType::kF32;
  if constexpr (std::is_same_v<U, double>) return dtype == DType::kF64;
  if constexpr (std::is_same_v<U, int32_t>) return dtype == DType::kI32;
  if constexpr (std::is_same_v<U, int64_t>) return dtype == DType::kI64;
  if constexpr (std::is_same_v<U, uint16_t>) return dtype == DType::kBF16 || dtype == DType::kF16;
  return std::is_same_v<U, std::byte>;
}
}  // namespace detail

template <typename T>
std::span<T> Tensor::as() const {
  CHECK(detail::matches<T>(dtype), "{} read as another type", to_string(*this));
  CHECK(is_contiguous() && (data || numel() == 0), "{} has no contiguous values", to_string(*this));
  const int64_t count = std::is_same_v<std::remove_const_t<T>, std::byte> ? bytes() : numel();
  return {static_cast<T*>(data), static_cast<size_t>(count)};
}

}  // namespace millrace
