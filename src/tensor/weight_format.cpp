// Sizes and names of weight formats.
#include "tensor/weight_format.h"

#include "base/error.h"

namespace millrace {

int64_t WeightFormat::bytes(int64_t rows, int64_t columns) const {
  const int64_t values = rows * columns * size_of(dtype);
  if (is_plain()) return values;
  const auto blocks = [](int64_t extent, int64_t block) {
    return block ? (extent + block - 1) / block : 1;
  };
  const int64_t count = blocks(rows, block_rows) * blocks(columns, block_columns);
  return values + count * (size_of(*scale_dtype) + (zero_dtype ? size_of(*zero_dtype) : 0));
}

std::string to_string(const WeightFormat& format) {
  if (format.is_plain()) return std::string(to_string(format.dtype));
  std::string out = fmt::format("{}/{}x{}:{}", to_string(format.dtype), format.block_rows,
                                format.block_columns, to_string(*format.scale_dtype));
  if (format.zero_dtype) out += fmt::format("+{}", to_string(*format.zero_dtype));
  return out;
}

}  // namespace millrace
