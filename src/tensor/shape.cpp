// Shapes: construction checks and printing.
#include "tensor/shape.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "base/error.h"

namespace millrace {

Shape::Shape(std::span<const int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
  CHECK(sizes.size() <= kMaxRank, "rank {} is above {}", sizes.size(), kMaxRank);
  std::copy(sizes.begin(), sizes.end(), sizes_.begin());
}

int64_t Shape::operator[](int dim) const {
  if (dim < 0) dim += rank_;
  CHECK(dim >= 0 && dim < rank_, "dimension {} of {}", dim, to_string(*this));
  return sizes_[static_cast<size_t>(dim)];
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (int64_t size : sizes()) CHECK(!__builtin_mul_overflow(product, size, &product));
  return product;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(sizes(), other.sizes());
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.sizes(), ", "));
}

}  // namespace millrace
