// How a weight is stored, from bf16 to block-scaled four-bit types, in one struct.
#pragma once

#include <optional>
#include <string>

#include "tensor/dtype.h"

namespace millrace {

// A plain format has no scale dtype. A block of `block_rows` x `block_columns` elements shares one
// scale (and one zero point); 0 means the whole extent of that dimension.
struct WeightFormat {
  DType dtype = DType::kF32;
  int64_t block_rows = 0;            // elements along the output dimension
  int64_t block_columns = 0;         // elements along the input dimension
  std::optional<DType> scale_dtype;  // absent: values are stored as they are
  std::optional<DType> zero_dtype;   // absent: symmetric

  bool is_plain() const { return !scale_dtype; }
  int64_t bytes(int64_t rows, int64_t columns) const;  // of values, scales and zero points

  bool operator==(const WeightFormat&) const = default;
};

std::string to_string(const WeightFormat& format);  // "F32", "F8_E4M3/128x128:F32"

}  // namespace millrace
