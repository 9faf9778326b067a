// Causal attention over paged keys and values in plain fp32, for models that compute in it: no
// tensor cores.
//
// The tiles of smxx_paged_attention.cuh, none of them split, and the thread layout of
// smxx_attention_fp32.cuh: thread (y, x) of 16 x 16 owns the packed rows 2 y and 2 y + 1; of their
// scores the keys x and x + 16 of a step, of their sums the columns 2 x, 2 x + 1, and every 32
// after them. A row's bits depend on its own sequence alone.
//
// Launch: grid (tiles, kv heads), block kFp32PagedThreads, dynamic shared bytes
// kFp32PagedShared<kHeadDim>. Any 1 <= head_dim <= kHeadDim is right.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"
#include "online_softmax.cuh"
#include "paged_rows.cuh"

namespace millrace::cuda {

inline constexpr int kFp32PagedThreads = 256;
inline constexpr int kFp32PagedTileRows = 32;
inline constexpr int kFp32PagedKeys = 32;  // per step
inline constexpr int kFp32PagedPad = 4;    // floats: 8 rows, read at once, lie in all banks
template <int kHeadDim>
inline constexpr int kFp32PagedShared = 4 * ((kFp32PagedTileRows + kFp32PagedKeys) *
                                                 (kHeadDim + kFp32PagedPad) +
                                             kFp32PagedTileRows * (kFp32PagedKeys + kFp32PagedPad));

// The greatest and the sum over the 16 threads of a row, which are half a warp.
__device__ inline float sixteen_max(float x) {
#pragma unroll
  for (int lanes = 8; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lanes));
  return x;
}
__device__ inline float sixteen_sum(float x) {
#pragma unroll
  for (int lanes = 8; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  return x;
}

// Fills a tile with the keys or values from `first` on, and zeros where the tile sees none.
template <int kHeadDim>
__device__ inline void load_fp32_keys(float* tile, const PagedRows<float>& rows, const float* side,
                                      int first) {
#pragma unroll 4
  for (int i = threadIdx.x; i < kFp32PagedKeys * kHeadDim; i += kFp32PagedThreads) {
    const int key = first + i / kHeadDim;
    const int column = i % kHeadDim;
    tile[i / kHeadDim * (kHeadDim + kFp32PagedPad) + column] =
        rows.sees(key) && column < rows.head_dim ? rows.row(side, key)[column] : 0.0f;
  }
}

template <int kHeadDim>
__global__ void __launch_bounds__(kFp32PagedThreads)
    smxx_paged_attention_fp32(const __grid_constant__ PagedAttentionArgs args) {
  constexpr int kKeys = kFp32PagedKeys;
  constexpr int kStride = kHeadDim + kFp32PagedPad;
  constexpr int kWeightStride = kKeys + kFp32PagedPad;
  constexpr int kPairs = kHeadDim / 32;  // of output columns per thread
  extern __shared__ __align__(16) float shared_floats[];
  float* queries = shared_floats;
  float* tile = queries + kFp32PagedTileRows * kStride;  // of keys, then of values
  float* weights = tile + kKeys * kStride;

  const PagedWork work(args);
  if (work.tile.row_begin == work.tile.row_end) return;
  const PagedRows<float> rows(args, work);
  const HeadRows<float> from(args.qkv, args.head_dim);
  const int x = threadIdx.x % 16;
  const int y = threadIdx.x / 16;
#pragma unroll 4
  for (int i = threadIdx.x; i < kFp32PagedTileRows * kHeadDim; i += kFp32PagedThreads) {
    const int packed = work.tile.row_begin + i / kHeadDim;
    const int column = i % kHeadDim;
    queries[i / kHeadDim * kStride + column] =
        packed < work.tile.row_end && column < args.head_dim
            ? from.row(work.head_of(args, packed), work.token_of(args, packed))[column]
            : 0.0f;
  }
  RowBounds bounds;
#pragma unroll
  for (int i = 0; i < 2; ++i) work.bounds_of(args, 2 * y + i, bounds, i);

  const float scale = args.soft_cap != 0 ? 1.0f : args.scale;
  float maximum[2] = {-kInfinity, -kInfinity}, sum[2] = {}, out[2][kPairs][2] = {};
  for (int key = work.tile.key_begin; key < work.tile.key_end; key += kKeys) {
    __syncthreads();  // the values of the last step are read
    load_fp32_keys<kHeadDim>(tile, rows, rows.keys, key);
    __syncthreads();

    float scores[2][2] = {};
#pragma unroll 4
    for (int d = 0; d < kHeadDim; d += 4) {
      float k[2][4];
#pragma unroll
      for (int j = 0; j < 2; ++j) load_vector(tile + (x + 16 * j) * kStride + d, k[j]);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float q[4];
        load_vector(queries + (2 * y + i) * kStride + d, q);
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e) scores[i][j] = fmaf(q[e], k[j][e], scores[i][j]);
      }
    }
    __syncthreads();  // the keys are read
    load_fp32_keys<kHeadDim>(tile, rows, rows.values, key);

#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (args.soft_cap != 0) cap_scores(scores[i], args.scale, args.soft_cap);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int seen = key + x + 16 * j;
        if (seen < bounds.begin[i] || seen >= bounds.end[i]) scores[i][j] = -kInfinity;
      }
      const float most = fmaxf(maximum[i], sixteen_max(fmaxf(scores[i][0], scores[i][1])));
      // A row that has seen no key yet has no maximum; its exponentials are 2^-infinity.
      const float base = most == -kInfinity ? 0.0f : most * scale;
      // Exactly 1 where no key is seen: such a step leaves the sums as they are.
      const float shrink = most == maximum[i] ? 1.0f : exp2_fast((maximum[i] - most) * scale);
      maximum[i] = most;
      sum[i] *= shrink;
#pragma unroll
      for (int p = 0; p < kPairs; ++p) out[i][p][0] *= shrink, out[i][p][1] *= shrink;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float weight = exp2_fast(fmaf(scores[i][j], scale, -base));
        sum[i] += weight;
        weights[(2 * y + i) * kWeightStride + x + 16 * j] = weight;
      }
    }
    __syncthreads();  // the values are there, and the weights

#pragma unroll 2
    for (int k = 0; k < kKeys; k += 4) {
      float w[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) load_vector(weights + (2 * y + i) * kWeightStride + k, w[i]);
#pragma unroll
      for (int e = 0; e < 4; ++e)
#pragma unroll
        for (int p = 0; p < kPairs; ++p) {
          const float2 v =
              *reinterpret_cast<const float2*>(tile + (k + e) * kStride + 2 * x + 32 * p);
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            out[i][p][0] = fmaf(w[i][e], v.x, out[i][p][0]);
            out[i][p][1] = fmaf(w[i][e], v.y, out[i][p][1]);
          }
        }
    }
  }

  const HeadRows<float> to(args.out, args.head_dim);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float inverse = 1.0f / sixteen_sum(sum[i]);
    const int packed = work.tile.row_begin + 2 * y + i;
    if (packed >= work.tile.row_end) continue;
    float* row = to.row(work.head_of(args, packed), work.token_of(args, packed));
#pragma unroll
    for (int p = 0; p < kPairs; ++p)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (const int column = 2 * x + 32 * p + e; column < args.head_dim)
          row[column] = out[i][p][e] * inverse;
  }
}

}  // namespace millrace::cuda
