// x = f(x + bias) in place, where the product before it could not take bias and f into itself.
//
// Launch: grid any number of blocks >= 1, at best min(rows, 65535), block kActivateThreads, no
// dynamic shared bytes. Blocks stride over the rows.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kActivateThreads = 128;

// kFunction: 0 none, 1 gelu, 2 gelu by tanh, 3 relu, 4 silu, 5 tanh.
template <int kFunction>
__device__ inline float activate(float x) {
  static_assert(kFunction >= 0 && kFunction <= 5);
  if constexpr (kFunction == 1) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  if constexpr (kFunction == 2) {
    const float inner = 0.79788456080286536f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.0f + tanhf(inner));
  }
  if constexpr (kFunction == 3) return x < 0.0f ? 0.0f : x;  // NaN stays
  if constexpr (kFunction == 4) return x / (1.0f + expf(-x));
  if constexpr (kFunction == 5) return tanhf(x);
  return x;
}

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
