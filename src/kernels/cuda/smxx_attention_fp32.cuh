// Attention of packed sequences in plain fp32, for models that compute in it: no tensor cores.
//
// The same online softmax over blocks of keys as smxx_attention.cuh. Thread (y, x) of 16 x 16 owns
// the query rows 4 y .. 4 y + 3: of their scores the keys x and x + 16 of a block, of their sums
// the columns 2 x, 2 x + 1, and every 32 after them.
//
// Launch: grid (tiles, heads), block kFp32AttentionThreads, dynamic shared bytes
// kFp32AttentionShared<kHeadDim>: 512 * kHeadDim + 11264, above 48 KiB for 96 and 128. A tile has
// at most kFp32AttentionTileRows rows and may hold several sequences. Any stride and any 1 <=
// head_dim <= kHeadDim is right.
#pragma once

#include "attention_work.cuh"
#include "kernel_args.h"
#include "numbers.cuh"
#include "online_softmax.cuh"

namespace millrace::cuda {

inline constexpr int kFp32AttentionThreads = 256;
inline constexpr int kFp32AttentionTileRows = 64;
inline constexpr int kFp32AttentionKeys = 32;  // per step
inline constexpr int kFp32AttentionPad = 4;    // floats: 8 rows, read at once, lie in all banks
template <int kHeadDim>
inline constexpr int kFp32AttentionShared =
    4 * ((kFp32AttentionTileRows + 2 * kFp32AttentionKeys) * (kHeadDim + kFp32AttentionPad) +
         kFp32AttentionTileRows * (kFp32AttentionKeys + kFp32AttentionPad));

// Fills kRows rows with the rows `first`, ... before `end` of a head, and zeros around them.
template <int kHeadDim, int kRows>
__device__ inline void load_fp32_tile(float* tile, const Rows& rows, int head, int head_dim,
                                      int first, int end) {
  constexpr int kStride = kHeadDim + kFp32AttentionPad;
  const float* data =
      static_cast<const float*>(rows.data) + static_cast<long long>(head) * head_dim;
#pragma unroll 8
  for (int i = threadIdx.x; i < kRows * kHeadDim; i += kFp32AttentionThreads) {
    const int row = i / kHeadDim;
    const int column = i % kHeadDim;
    const bool inside = first + row < end && column < head_dim;
    tile[row * kStride + column] =
        inside ? data[static_cast<long long>(first + row) * rows.stride + column] : 0.0f;
  }
}

// The greatest and the sum over the 16 threads of a row group, which are half a warp.
__device__ inline float half_warp_max(float x) {
#pragma unroll
  for (int lanes = 8; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lanes));
  return x;
}
__device__ inline float half_warp_sum(float x) {
#pragma unroll
  for (int lanes = 8; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  return x;
}

template <int kHeadDim>
__global__ void __launch_bounds__(kFp32AttentionThreads, kHeadDim < 128 ? 2 : 1)
    smxx_attention_fp32(const __grid_constant__ AttentionArgs args) {
  constexpr int kTileRows = kFp32AttentionTileRows;
  constexpr int kKeys = kFp32AttentionKeys;
  constexpr int kStride = kHeadDim + kFp32AttentionPad;
  constexpr int kWeightStride = kKeys + kFp32AttentionPad;
  constexpr int kPairs = kHeadDim / 32;  // of output columns per thread
  extern __shared__ __align__(16) float shared_floats[];
  float* queries = shared_floats;
  float* keys = queries + kTileRows * kStride;
  float* values = keys + kKeys * kStride;
  float* weights = values + kKeys * kStride;

  const AttentionWork work(args);
  work.exit_if_empty();
  const AttentionTile& tile = work.tile;
  const int head = work.head;
  const int x = threadIdx.x % 16;
  const int y = threadIdx.x / 16;
  load_fp32_tile<kHeadDim, kTileRows>(queries, args.qkv, head, args.head_dim, tile.row_begin,
                                      tile.row_end);
  int begin[4], end[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = tile.row_begin + 4 * y + i;
    begin[i] = row < tile.row_end ? args.bounds[row][0] : tile.kv_begin;
    end[i] = row < tile.row_end ? args.bounds[row][1] : tile.kv_end;
  }

  float maximum[4], sum[4] = {}, out[4][kPairs][2] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) maximum[i] = -kInfinity;
  for (int key = tile.kv_begin; key < tile.kv_end; key += kKeys) {
    __syncthreads();  // the tiles of the last step are read
    load_fp32_tile<kHeadDim, kKeys>(keys, args.qkv, args.num_heads + head, args.head_dim, key,
                                    tile.kv_end);
    load_fp32_tile<kHeadDim, kKeys>(values, args.qkv, 2 * args.num_heads + head, args.head_dim, key,
                                    tile.kv_end);
    __syncthreads();

    float scores[4][2] = {};
#pragma unroll 4
    for (int d = 0; d < kHeadDim; d += 4) {
      float k[2][4];
#pragma unroll
      for (int j = 0; j < 2; ++j) load_vector(keys + (x + 16 * j) * kStride + d, k[j]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float q[4];
        load_vector(queries + (4 * y + i) * kStride + d, q);
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e) scores[i][j] = fmaf(q[e], k[j][e], scores[i][j]);
      }
    }

#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int seen = key + x + 16 * j;
        if (seen < begin[i] || seen >= end[i]) scores[i][j] = -kInfinity;
      }
      const float most = fmaxf(maximum[i], half_warp_max(fmaxf(scores[i][0], scores[i][1])));
      // A row that has seen no key yet has no maximum; its exponentials are 2^-infinity.
      const float base = most == -kInfinity ? 0.0f : most * args.scale;
      const float shrink = exp2_fast(fmaf(maximum[i], args.scale, -base));
      maximum[i] = most;
      sum[i] *= shrink;
#pragma unroll
      for (int p = 0; p < kPairs; ++p) out[i][p][0] *= shrink, out[i][p][1] *= shrink;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float weight = exp2_fast(fmaf(scores[i][j], args.scale, -base));
        sum[i] += weight;
        weights[(4 * y + i) * kWeightStride + x + 16 * j] = weight;
      }
    }
    __syncwarp();  // weights pass between the threads of a row group alone

#pragma unroll 2
    for (int k = 0; k < kKeys; k += 4) {
      float w[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) load_vector(weights + (4 * y + i) * kWeightStride + k, w[i]);
#pragma unroll
      for (int e = 0; e < 4; ++e)
#pragma unroll
        for (int p = 0; p < kPairs; ++p) {
          const float2 v =
              *reinterpret_cast<const float2*>(values + (k + e) * kStride + 2 * x + 32 * p);
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            out[i][p][0] = fmaf(w[i][e], v.x, out[i][p][0]);
            out[i][p][1] = fmaf(w[i][e], v.y, out[i][p][1]);
          }
        }
    }
    __syncwarp();
  }

#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float inverse = 1.0f / half_warp_sum(sum[i]);
    const long long row = tile.row_begin + 4 * y + i;
    if (row >= tile.row_end) continue;
    float* to = static_cast<float*>(args.out.data) + row * args.out.stride +
                static_cast<long long>(head) * args.head_dim;
#pragma unroll
    for (int p = 0; p < kPairs; ++p)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (const int column = 2 * x + 32 * p + e; column < args.head_dim)
          to[column] = out[i][p][e] * inverse;
  }
}

}  // namespace millrace::cuda
