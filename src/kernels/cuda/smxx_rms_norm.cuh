// out = RMS(x), after x += scale * delta or x += scale * RMS'(delta) in place where there is a
// delta. A row lies in the registers of one warp or of one block.
//
// Launch: grid ceil(rows / kRmsRowsPerBlock<kWarps>), block kRmsThreads<kWarps>, no dynamic shared
// bytes: 4 rows and 128 threads where kWarps is 1, else one row and 32 * kWarps threads. A lane
// holds at most 32 elements: kWarps is 1 for a width up to 1024, 8 up to 8192, 16 up to 16384;
//   kVectors = ceil(width / (32 * kWarps * (16 / sizeof(T)))), or more.
// The sum is normalised before it is rounded to T. Any width, stride and alignment is right; rows
// that begin on 16 bytes with a width of whole vectors are fast. The order of sums does not depend
// on either.
#pragma once

#include "decoder_row_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

template <int kWarps>
inline constexpr int kRmsRowsPerBlock = kWarps == 1 ? 4 : 1;
template <int kWarps>
inline constexpr int kRmsThreads = 32 * kWarps* kRmsRowsPerBlock<kWarps>;

template <class T, int kVectors, int kWarps, bool kAligned>
struct RmsRow {
  static constexpr int kElements = kVector<T>;

  int width;
  float x[kVectors][kElements];

  static __device__ int column(int v) {
    return (v * 32 * kWarps + static_cast<int>(threadIdx.x) % (32 * kWarps)) * kElements;
  }

  __device__ void load(const T* row) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int c = column(v);
      if (c >= width) {
#pragma unroll
        for (int e = 0; e < kElements; ++e) x[v][e] = 0;
      } else if constexpr (kAligned) {
        load_vector(row + c, x[v]);
      } else {
        load_part(row + c, width - c, x[v]);
      }
    }
  }

  __device__ void store(T* row) const {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int c = column(v);
      if (c >= width) continue;
      if constexpr (kAligned)
        store_vector(row + c, x[v]);
      else
        store_part(row + c, width - c, x[v]);
    }
  }

  // x = row + scale * x.
  __device__ void add_to(const T* row, float scale) {
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
      for (int e = 0; e < kElements; ++e) x[v][e] = fmaf(scale, x[v][e], y[e]);
    }
  }

  // x = x / sqrt(mean(x^2) + eps) * (gamma + offset). For kWarps > 1 every thread of the block must
  // come here. The weights are on their way while the sum is formed.
  __device__ void normalize(const RmsArgs& norm) {
    const T* gamma = static_cast<const T*>(norm.gamma);
    uint4 weights[kVectors];
    if constexpr (kAligned) {
#pragma unroll
      for (int v = 0; v < kVectors; ++v)
        weights[v] = column(v) < width ? load_raw(gamma + column(v)) : uint4{};
    }
    float squares = 0;
#pragma unroll
    for (int v = 0; v < kVectors; ++v)
#pragma unroll
      for (int e = 0; e < kElements; ++e) squares = fmaf(x[v][e], x[v][e], squares);
    const float inverse = rsqrtf(total(squares) / static_cast<float>(width) + norm.eps);
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int c = column(v);
      if (c >= width) continue;
      float g[kElements];
      if constexpr (kAligned)
        unpack<T>(weights[v], g);
      else
        load_part(gamma + c, width - c, g);
#pragma unroll
      for (int e = 0; e < kElements; ++e) x[v][e] = x[v][e] * inverse * (g[e] + norm.offset);
    }
  }

 private:
  // The sum over the row's lanes, the same bits in each of them.
  static __device__ float total(float lane_sum) {
    float sum = warp_sum(lane_sum);
    if constexpr (kWarps > 1) {
      __shared__ float warp_sums[kWarps];
      __syncthreads();  // the sums of a norm before this one were read
      if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
      __syncthreads();
      sum = 0;
#pragma unroll
      for (int w = 0; w < kWarps; ++w) sum += warp_sums[w];
    }
    return sum;
  }
};

template <class T, int kVectors, int kWarps, bool kAligned>
__device__ void rms_norm_row(const RmsNormArgs& args, long long r) {
  RmsRow<T, kVectors, kWarps, kAligned> row;
  row.width = args.width;
  T* x = static_cast<T*>(args.x.data) + r * args.x.stride;
  if (args.delta.data == nullptr) {
    row.load(x);
  } else {
    row.load(static_cast<const T*>(args.delta.data) + r * args.delta.stride);
    if (args.delta_norm.gamma != nullptr) row.normalize(args.delta_norm);
    row.add_to(x, args.scale);
    row.store(x);
  }
  row.normalize(args.norm);
  row.store(static_cast<T*>(args.out.data) + r * args.out.stride);
}

template <class T>
__device__ inline bool are_aligned(const Rows& rows) {
  return are_rows_aligned(static_cast<const T*>(rows.data), rows.stride);
}

template <class T, int kVectors, int kWarps>
__global__ void __launch_bounds__(kRmsThreads<kWarps>)
    smxx_rms_norm(const __grid_constant__ RmsNormArgs args) {
  const int row = blockIdx.x * kRmsRowsPerBlock<kWarps> + threadIdx.x / (32 * kWarps);
  if (row >= args.rows) return;
  const bool aligned = args.width % kVector<T> == 0 && are_aligned<T>(args.x) &&
                       are_aligned<T>(args.delta) && are_aligned<T>(args.out) &&
                       is_aligned(static_cast<const T*>(args.norm.gamma)) &&
                       is_aligned(static_cast<const T*>(args.delta_norm.gamma));
  if (aligned)
    rms_norm_row<T, kVectors, kWarps, true>(args, row);
  else
    rms_norm_row<T, kVectors, kWarps, false>(args, row);
}

}  // namespace millrace::cuda
