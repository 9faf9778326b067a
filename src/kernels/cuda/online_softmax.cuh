// Softmax over keys that arrive block by block, on scores as the tensor cores leave them.
//
// Scores of 16 query rows by n keys lie in the accumulator layout that mma.sync m16n8 and wgmma
// m64nN share: lane l of a warp holds, of the rows l / 4 (half h = 0) and l / 4 + 8 (h = 1), the
// keys 8 j + 2 (l % 4) + e; that is x[4 j + 2 h + e].
//
// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018: with m the maximum so
// far, keep sum exp(s - m) and sum exp(s - m) v, and shrink both by exp(m_old - m_new) when m
// grows. Any m that is near the maximum serves as well; so m is left alone while the maximum
// exceeds it by no more than a factor of 2^kSlack in the exponentials, and most blocks need not
// shrink anything. Whether a row shrinks depends on that row alone.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr float kInfinity = __builtin_bit_cast(float, 0x7f800000);

// The keys that this lane's two rows see.
struct RowBounds {
  int begin[2];
  int end[2];

  RowBounds() = default;
  // Of a warp's 16 rows from `first_row` on. Rows past the tile, which nobody reads, see all keys.
  __device__ RowBounds(const AttentionArgs& args, const AttentionTile& tile, int first_row) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = first_row + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * h;
      begin[h] = row < tile.row_end ? args.bounds[row][0] : tile.kv_begin;
      end[h] = row < tile.row_end ? args.bounds[row][1] : tile.kv_end;
    }
  }

  __device__ bool covers(int first_key, int end_key) const {
    return begin[0] <= first_key && begin[1] <= first_key && end[0] >= end_key && end[1] >= end_key;
  }
};

// Scores of keys that a row does not see become -infinity; x[0] belongs to `first_key` and its
// kind.
template <int kCount>
__device__ inline void mask_scores(float (&x)[kCount], const RowBounds& bounds, int first_key) {
  const int lane_key = first_key + 2 * (threadIdx.x % 4);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int h = i / 2 % 2;
    const unsigned offset = lane_key + 8 * (i / 4) + i % 2 - bounds.begin[h];
    if (offset >= static_cast<unsigned>(bounds.end[h] - bounds.begin[h])) x[i] = -kInfinity;
  }
}

// 2^x; -infinity gives 0.
__device__ inline float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// Weights in the layout of a left factor: 16 keys are one step of the product with the values.
template <class T, int kCount>
__device__ inline void to_weights(const float (&x)[kCount], unsigned (&p)[kCount / 8][4]) {
#pragma unroll
  for (int k = 0; k < kCount / 8; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i) p[k][i] = pack<T>(x[8 * k + 2 * i], x[8 * k + 2 * i + 1]);
}

struct OnlineSoftmax {
  static constexpr float kSlack = 8;

  float maximum[2] = {-kInfinity, -kInfinity};
  float sum[2] = {0, 0};     // this lane's part
  float shrink[2] = {1, 1};  // what sums of earlier blocks are to be multiplied by

  // Turns the scores x of a block into 2^(scale (x - maximum)); scale > 0.
  template <int kCount>
  __device__ void update(float (&x)[kCount], float scale) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float most = fmaxf(x[2 * h], x[2 * h + 1]);
#pragma unroll
      for (int i = 4; i < kCount; i += 4) most = fmaxf(most, fmaxf(x[i + 2 * h], x[i + 2 * h + 1]));
      most = quad_max(most);
      const bool grows = (most - maximum[h]) * scale > kSlack;
      shrink[h] = exp2_fast(grows ? (maximum[h] - most) * scale : 0.0f);
      maximum[h] = grows ? most : maximum[h];
      // A row that has seen no key yet has no maximum; its exponentials are 2^-infinity.
      const float base = maximum[h] == -kInfinity ? 0.0f : maximum[h] * scale;
      float block_sum = 0;
#pragma unroll
      for (int i = 0; i < kCount; i += 4)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& p = x[i + 2 * h + e];
          p = exp2_fast(fmaf(p, scale, -base));
          block_sum += p;
        }
      sum[h] = sum[h] * shrink[h] + block_sum;
    }
  }

  // Multiplies sums over earlier blocks, in the same layout, by what they shrink to.
  template <int kCount>
  __device__ void shrink_rows(float (&x)[kCount]) const {
    if (!__any_sync(~0u, shrink[0] != 1.0f || shrink[1] != 1.0f)) return;
#pragma unroll
    for (int i = 0; i < kCount; ++i) x[i] *= shrink[i / 2 % 2];
  }

  // The final sums, divided by the sum of all weights.
  template <int kCount>
  __device__ void finish(float (&x)[kCount]) const {
    const float inverse[2] = {reciprocal(quad_sum(sum[0])), reciprocal(quad_sum(sum[1]))};
#pragma unroll
    for (int i = 0; i < kCount; ++i) x[i] *= inverse[i / 2 % 2];
  }
};

}  // namespace millrace::cuda
