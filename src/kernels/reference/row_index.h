// Where an element of a matrix stored row by row lies.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::reference {

inline size_t at(int64_t row, int64_t width, int64_t column) {
  return static_cast<size_t>(row * width + column);
}

}  // namespace millrace::reference
