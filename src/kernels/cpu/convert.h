// Conversions of whole arrays between fp32, bf16 and fp16.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"
#include "tensor/dtype.h"

namespace millrace::cpu {

// out[i] = x[i] in another type. Both dtypes are kF32, kF16 or kBF16. Narrowing rounds to nearest,
// ties to even; what is too large becomes infinite; NaN stays NaN. The arrays must not overlap.
void convert(const Kernels& kernels, ThreadPool& pool, const void* x, DType x_dtype, void* out,
             DType out_dtype, int64_t count);

// The same for rows with strides (in elements).
struct ConvertArgs {
  int64_t rows = 0;
  int64_t width = 0;
  const void* x = nullptr;
  int64_t x_stride = 0;
  DType x_dtype = DType::kF32;
  void* out = nullptr;
  int64_t out_stride = 0;
  DType out_dtype = DType::kF32;
};

void convert_rows(const Kernels& kernels, ThreadPool& pool, const ConvertArgs& args);

}  // namespace millrace::cpu
