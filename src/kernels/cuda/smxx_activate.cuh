// x = f(x + bias) in place, where the product before it could not take bias and f into itself.
//
// Launch: grid any number of blocks >= 1, at best min(rows, 65535), block kActivateThreads, no
// dynamic shared bytes. Blocks stride over the rows.
#pragma once

#include "activation.cuh"
#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kActivateThreads = 128;

template <class T, int kFunction>
__global__ void __launch_bounds__(kActivateThreads)
    smxx_activate(const __grid_constant__ ActivateArgs args) {
  constexpr int kElements = kVector<T>;
  const T* bias = static_cast<const T*>(args.bias);
  const bool aligned =
      are_rows_aligned(static_cast<const T*>(args.x.data), args.x.stride) && is_aligned(bias);
  for (long long r = blockIdx.x; r < args.rows; r += gridDim.x) {
    T* row = static_cast<T*>(args.x.data) + r * args.x.stride;
    for (int c = threadIdx.x * kElements; c < args.width; c += kActivateThreads * kElements) {
      const int count = args.width - c;
      const bool vector = aligned && count >= kElements;
      float x[kElements], b[kElements] = {};
      if (vector) {
        load_vector(row + c, x);
        if (bias != nullptr) load_vector(bias + c, b);
      } else {
        load_part(row + c, count, x);
        if (bias != nullptr) load_part(bias + c, count, b);
      }
#pragma unroll
      for (int e = 0; e < kElements; ++e) x[e] = activate<kFunction>(x[e] + b[e]);
      if (vector)
        store_vector(row + c, x);
      else
        store_part(row + c, count, x);
    }
  }
}

}  // namespace millrace::cuda
