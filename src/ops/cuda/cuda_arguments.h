// From tensors and norms to what kernels take.
#pragma once

#include "kernels/cuda/kernel_args.h"
#include "ops/linear.h"

namespace millrace::cuda {

inline Rows rows_of(const Tensor& tensor) {
  return {.data = tensor.data, .stride = static_cast<int>(tensor.row_stride)};
}

// Null: rows are not normalised.
inline RmsArgs rms_args(const RmsNorm* norm) {
  if (!norm) return {};
  return {.gamma = norm->weight.data, .offset = norm->offset, .eps = norm->eps};
}

}  // namespace millrace::cuda
