// One float row per sequence: its first row, its last, or the mean of its rows.
//
// Launch: grid (sequences, ceil(width / kPoolColumns<T>)), block kPoolThreads, no dynamic shared
// bytes. Warp w of a block sums the rows w, w + 8, ... of the sequence and the warps' sums are
// added in order, so that a vector's bits depend on its own sequence alone. The row of an empty
// sequence is not written.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kPoolWarps = 8;
inline constexpr int kPoolThreads = 32 * kPoolWarps;
template <class T>
inline constexpr int kPoolColumns = 32 * kVector<T>;

// Adds to `sum` the first `count` columns of the rows first, first + kPoolWarps, ... before `end`.
template <bool kWholeVector, class T>
__device__ inline void pool_columns(const T* x, long long stride, int first, int end, int count,
                                    float (&sum)[kVector<T>]) {
#pragma unroll 4
  for (int r = first; r < end; r += kPoolWarps) {
    float y[kVector<T>];
    if constexpr (kWholeVector)
      load_vector(x + r * stride, y);
    else
      load_part(x + r * stride, count, y);
#pragma unroll
    for (int e = 0; e < kVector<T>; ++e) sum[e] += y[e];
  }
}

template <class T>
__global__ void __launch_bounds__(kPoolThreads) smxx_pool(const __grid_constant__ PoolArgs args) {
  constexpr int kElements = kVector<T>;
  __shared__ float sums[kPoolWarps][kPoolColumns<T>];
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int first_column = blockIdx.y * kPoolColumns<T>;
  const int column = first_column + lane * kElements;
  const long long sequence = blockIdx.x;
  int begin = args.cu_seqlens[sequence];
  int end = args.cu_seqlens[sequence + 1];
  if (begin == end) return;
  if (args.mode == 0) end = begin + 1;
  if (args.mode == 2) begin = end - 1;

  const T* x = static_cast<const T*>(args.x.data) + column;
  const long long stride = args.x.stride;
  const int count = args.width - column;
  const bool vectors =
      are_rows_aligned(static_cast<const T*>(args.x.data), stride) && count >= kElements;
  float sum[kElements] = {};
  if (vectors)
    pool_columns<true>(x, stride, begin + warp, end, count, sum);
  else if (count > 0)
    pool_columns<false>(x, stride, begin + warp, end, count, sum);
#pragma unroll
  for (int e = 0; e < kElements; ++e) sums[warp][lane * kElements + e] = sum[e];
  __syncthreads();

  float* out = static_cast<float*>(args.out.data) + sequence * args.out.stride + first_column;
  const float rows = static_cast<float>(end - begin);
  for (int c = threadIdx.x; c < kPoolColumns<T> && first_column + c < args.width;
       c += kPoolThreads) {
    float total = 0;
#pragma unroll
    for (int w = 0; w < kPoolWarps; ++w) total += sums[w][c];
    out[c] = total / rows;
  }
}

}  // namespace millrace::cuda
