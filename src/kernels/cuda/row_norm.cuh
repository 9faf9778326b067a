// Layer normalisation of one row that lies in the registers of its lanes.
//
// kWarps warps hold a row: lane l of their 32 * kWarps holds the vectors l, l + 32 kWarps, ... of
// it, 16 bytes each, kVectors of them, as floats. Which lane holds what does not depend on
// alignment, so a row's bits do not either.
//
// Choice of instance, for both kernels that include this file: a lane holds at most 32 elements;
//   kWarps   = 1 if width <= 1024, 8 if width <= 8192, 32 if width <= 32768
//   kVectors = ceil(width / (32 * kWarps * (16 / sizeof(T))))
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

template <int kWarps>
inline constexpr int kNormRowsPerBlock = kWarps == 1 ? 4 : 1;
template <int kWarps>
inline constexpr int kNormThreads = 32 * kWarps* kNormRowsPerBlock<kWarps>;

template <class T, int kVectors, int kWarps>
struct RegisterRow {
  static constexpr int kElements = kVector<T>;
  float x[kVectors][kElements] = {};

  static __device__ int lane() { return threadIdx.x % (32 * kWarps); }
  static __device__ int column(int v) { return (v * 32 * kWarps + lane()) * kElements; }

  // Adds the elements of `row`.
  template <bool kAligned>
  __device__ void add(const T* row, int width) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int c = column(v);
      if (c >= width) continue;
      float y[kElements];
      if constexpr (kAligned)
        load_vector(row + c, y);
      else
        load_part(row + c, width - c, y);
#pragma unroll
      for (int e = 0; e < kElements; ++e) x[v][e] += y[e];
    }
  }

  // out = (x - mean) / sqrt(variance + eps) * gamma + beta. Two passes: the mean first, then the
  // squares of what is left. For kWarps > 1 every thread of the block must come here.
  template <bool kAligned>
  __device__ void normalize(const NormArgs& norm, int width, T* out) {
    float sum = 0;
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int e = 0; e < kElements; ++e) sum += x[v][e];
    const float mean = total(sum) / width;

    float squares = 0;
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int e = 0; e < kElements; ++e) {
        x[v][e] -= mean;
        if (column(v) + (kAligned ? 0 : e) < width) squares += x[v][e] * x[v][e];
      }
    const float inverse = rsqrtf(total(squares) / width + norm.eps);

    const T* gamma = static_cast<const T*>(norm.gamma);
    const T* beta = static_cast<const T*>(norm.beta);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int c = column(v);
      if (c >= width) continue;
      float g[kElements], b[kElements];
      if constexpr (kAligned) {
        load_vector(gamma + c, g);
        load_vector(beta + c, b);
      } else {
        load_part(gamma + c, width - c, g);
        load_part(beta + c, width - c, b);
      }
#pragma unroll
      for (int e = 0; e < kElements; ++e) x[v][e] = x[v][e] * inverse * g[e] + b[e];
      if constexpr (kAligned)
        store_vector(out + c, x[v]);
      else
        store_part(out + c, width - c, x[v]);
    }
  }

 private:
  // The sum over the row's lanes, the same bits in each of them.
  static __device__ float total(float lane_sum) {
    float sum = warp_sum(lane_sum);
    if constexpr (kWarps > 1) {
      __shared__ float warp_sums[kWarps];
      if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
      __syncthreads();
      sum = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) sum += warp_sums[w];
      __syncthreads();
    }
    return sum;
  }
};

template <class T>
__device__ inline bool is_norm_aligned(const NormArgs& norm, int width) {
  return width % kVector<T> == 0 && is_aligned(static_cast<const T*>(norm.gamma)) &&
         is_aligned(static_cast<const T*>(norm.beta));
}

// The row of this thread's warps, for a launch of ceil(rows / kNormRowsPerBlock) blocks.
template <int kWarps>
__device__ inline int norm_row() {
  return blockIdx.x * kNormRowsPerBlock<kWarps> + threadIdx.x / (32 * kWarps);
}

}  // namespace millrace::cuda
