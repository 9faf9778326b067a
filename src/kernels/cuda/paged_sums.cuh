// The end of paged attention: sums of parts of the keys become one row.
//
// Parts are the warps of a block that share rows, and tiles that share a sequence's keys. Each has,
// of a row, the greatest exponent m, the sum of its weights 2^(x - m), and the sum of values under
// them; parts with the greatest exponents m_i add up under the weights 2^(m_i - max m).
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"
#include "online_softmax.cuh"
#include "paged_rows.cuh"

namespace millrace::cuda {

// Four neighbouring numbers of a row of T, of which `count` exist.
template <class T>
__device__ inline void store_four(T* to, const float (&x)[4], int count, bool aligned) {
  if (aligned && count >= 4) {
    if constexpr (sizeof(T) == 4)
      *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
    else
      *reinterpret_cast<uint2*>(to) = make_uint2(pack<T>(x[0], x[1]), pack<T>(x[2], x[3]));
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e)
    if (e < count) to[e] = from_float<T>(x[e]);
}

// In shared memory: the parts of a block.
template <class T, int kHeadDim, int kRows, int kParts, int kThreads>
struct PagedSums {
  static constexpr int kStride = kHeadDim + 4;  // floats: rows that are written at once lie apart
  static constexpr int kBytes = 4 * kParts * kRows * (kStride + 2);
  static constexpr int kQuads = kHeadDim / 4;

  float* rows;   // [kParts, kRows, kStride]
  float* stats;  // [kParts, kRows, 2]

  __device__ explicit PagedSums(float* shared)
      : rows(shared), stats(shared + kParts * kRows * kStride) {}

  // 16 rows of a warp, as the tensor cores leave them.
  __device__ void put(int part, int first_row, const float (&out)[kHeadDim / 2],
                      const OnlineSoftmax& softmax, float scale) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = part * kRows + first_row + lane / 4 + 8 * h;
      float* to = rows + row * kStride + 2 * (lane % 4);
#pragma unroll
      for (int j = 0; j < kHeadDim / 8; ++j)
        *reinterpret_cast<float2*>(to + 8 * j) =
            make_float2(out[4 * j + 2 * h], out[4 * j + 2 * h + 1]);
      const float sum = quad_sum(softmax.sum[h]);
      if (lane % 4 == 0) {
        const float m = softmax.maximum[h];
        stats[2 * row] = m == -kInfinity ? m : m * scale;
        stats[2 * row + 1] = sum;
      }
    }
  }

  // Adds up parts that lie `part_stride` rows apart: `x` becomes the sum of values, not divided.
  struct Total {
    float maximum = -kInfinity;
    float sum = 0;
    float x[4] = {};
  };
  __device__ Total total(int row, int quad) const {
    Total all;
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      all.maximum = fmaxf(all.maximum, stats[2 * (part * kRows + row)]);
    if (all.maximum == -kInfinity) return all;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int index = part * kRows + row;
      const float weight = exp2_fast(stats[2 * index] - all.maximum);
      const float4 v = *reinterpret_cast<const float4*>(rows + index * kStride + 4 * quad);
      all.sum += weight * stats[2 * index + 1];
      all.x[0] += weight * v.x, all.x[1] += weight * v.y;
      all.x[2] += weight * v.z, all.x[3] += weight * v.w;
    }
    return all;
  }

  // Writes the rows of the tile, or its part of them.
  __device__ void finish(const PagedAttentionArgs& args, const PagedWork& work) {
    const PagedTile& tile = work.tile;
    const int count = tile.row_end - tile.row_begin;
    if (tile.num_splits == 1) {
      for (int i = threadIdx.x; i < count * kQuads; i += kThreads) {
        const Total all = total(i / kQuads, i % kQuads);
        const float inverse = 1.0f / all.sum;
        const float x[4] = {all.x[0] * inverse, all.x[1] * inverse, all.x[2] * inverse,
                            all.x[3] * inverse};
        write(args, work, i / kQuads, i % kQuads, x);
      }
      return;
    }
    const long long own = slot(args, work, tile.split);
    for (int i = threadIdx.x; i < count * kQuads; i += kThreads) {
      const int row = i / kQuads;
      const Total all = total(row, i % kQuads);
      float* to = args.partials + (own * kRows + row) * kHeadDim + i % kQuads * 4;
      __stcg(reinterpret_cast<float4*>(to), make_float4(all.x[0], all.x[1], all.x[2], all.x[3]));
      if (i % kQuads == 0)
        __stcg(reinterpret_cast<float2*>(args.partial_stats + (own * kRows + row) * 2),
               make_float2(all.maximum, all.sum));
    }
    __threadfence();
    __syncthreads();
    // The shared rows have been read: their first word tells whether all parts are there.
    unsigned* arrived = reinterpret_cast<unsigned*>(rows);
    if (threadIdx.x == 0) {
      unsigned* counter = args.arrivals + slot(args, work, 0);
      *arrived = atomicAdd(counter, 1u) + 1;
      if (*arrived == static_cast<unsigned>(tile.num_splits)) *counter = 0;
    }
    __syncthreads();
    if (*arrived != static_cast<unsigned>(tile.num_splits)) return;
    __threadfence();
    combine(args, work);
  }

 private:
  static __device__ long long slot(const PagedAttentionArgs& args, const PagedWork& work,
                                   int split) {
    return static_cast<long long>(work.tile.partial + split) * args.num_kv_heads + work.head;
  }

  static __device__ void write(const PagedAttentionArgs& args, const PagedWork& work, int row,
                               int quad, const float (&x)[4]) {
    const int packed = work.tile.row_begin + row;
    const HeadRows<T> out(args.out, args.head_dim);
    T* to = out.row(work.head_of(args, packed), work.token_of(args, packed)) + 4 * quad;
    store_four(to, x, args.head_dim - 4 * quad, out.aligned);
  }

  // Rows from the sums of all splits, in the order of the splits.
  static __device__ void combine(const PagedAttentionArgs& args, const PagedWork& work) {
    const int count = work.tile.row_end - work.tile.row_begin;
    const int splits = work.tile.num_splits;
    const long long step = static_cast<long long>(args.num_kv_heads) * kRows;
    const long long first = slot(args, work, 0) * kRows;
    for (int i = threadIdx.x; i < count * kQuads; i += kThreads) {
      const int row = i / kQuads;
      const float2* stats = reinterpret_cast<const float2*>(args.partial_stats) + first + row;
      const float4* sums =
          reinterpret_cast<const float4*>(args.partials + (first + row) * kHeadDim) + i % kQuads;
      float maximum = -kInfinity;
#pragma unroll 8
      for (int s = 0; s < splits; ++s) maximum = fmaxf(maximum, __ldcg(stats + s * step).x);
      float sum = 0;
      float x[4] = {};
#pragma unroll 8
      for (int s = 0; s < splits; ++s) {
        const float2 stat = __ldcg(stats + s * step);
        const float4 v = __ldcg(sums + s * step * kQuads);
        const float weight = exp2_fast(stat.x - maximum);
        sum += weight * stat.y;
        x[0] += weight * v.x, x[1] += weight * v.y, x[2] += weight * v.z, x[3] += weight * v.w;
      }
      const float inverse = 1.0f / sum;
#pragma unroll
      for (int e = 0; e < 4; ++e) x[e] *= inverse;
      write(args, work, row, i % kQuads, x);
    }
  }
};

}  // namespace millrace::cuda
