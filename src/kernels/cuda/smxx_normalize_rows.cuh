// x / max(|x|, 1e-12) for each float row, in place, as torch's F.normalize.
//
// Launch: grid rows, block kNormalizeThreads, no dynamic shared bytes.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kNormalizeThreads = 128;

__global__ void __launch_bounds__(kNormalizeThreads)
    smxx_normalize_rows(const __grid_constant__ NormalizeArgs args) {
  __shared__ float sums[kNormalizeThreads / 32];
  float* x = static_cast<float*>(args.x.data) + static_cast<long long>(blockIdx.x) * args.x.stride;
  float squares = 0;
  for (int c = threadIdx.x; c < args.width; c += kNormalizeThreads) squares += x[c] * x[c];
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
  __syncthreads();
  squares = 0;
#pragma unroll
  for (int w = 0; w < kNormalizeThreads / 32; ++w) squares += sums[w];
  const float inverse = 1.0f / fmaxf(sqrtf(squares), 1e-12f);
  for (int c = threadIdx.x; c < args.width; c += kNormalizeThreads) x[c] *= inverse;
}

}  // namespace millrace::cuda
