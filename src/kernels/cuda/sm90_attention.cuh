// Attention of packed sequences on wgmma: the fast way on Hopper, compiled for sm_90a alone.
//
// The same sums as smxx_attention.cuh with the two products overlapped as in Shah et al.,
// "FlashAttention-3", 2024: each warpgroup of 64 query rows issues the product of the next keys and
// that of the present values, and turns scores into exponentials while the tensor cores work on the
// second. The exponentials stay in registers as the left factor of the product with the values.
//
// Launch: grid (tiles, heads), block kSm90AttentionThreads<kHeadDim>, dynamic shared bytes
// kSm90AttentionShared<kHeadDim>. A tile has at most kSm90AttentionTileRows<kHeadDim> rows and may
// hold several sequences. head_dim % 8 == 0, head_dim <= kHeadDim, and rows of qkv and out begin on
// 16 bytes: elsewhere smxx_attention serves.
#pragma once

#include "kernel_args.h"
#include "mma.cuh"
#include "online_softmax.cuh"
#include "shared_tile.cuh"
#include "wgmma.cuh"

namespace millrace::cuda {

#ifndef LAB_WG
#define LAB_WG 2
#define LAB_KEYS 64
#define LAB_STAGES 2
#define LAB_BLOCKS 2
#define LAB_QREG 1
#define LAB_HOLD 1
#endif

template <class T, int kHeadDim>
struct Sm90Attention {
  static constexpr int kWarpgroups = LAB_WG;
  static constexpr int kKeys = LAB_KEYS;  // per step
  static constexpr int kStages = LAB_STAGES;
  static constexpr int kBlocks = LAB_BLOCKS;
  static constexpr bool kQueriesInRegisters = LAB_QREG;
  static constexpr bool kHold = LAB_HOLD;
  static constexpr int kThreads = 128 * kWarpgroups;
  using Queries = SharedTile<T, kHeadDim, 64 * kWarpgroups>;
  using Keys = SharedTile<T, kHeadDim, kKeys>;  // and values
  static constexpr unsigned kStageBytes = 2 * Keys::kBytes;
  static constexpr int kShared = Queries::kBytes + kStages * kStageBytes;

  AttentionTile tile;
  HeadRows<T> qkv;
  int steps;
  unsigned query_tile;
  unsigned stages;
  const T* keys;    // what this thread copies of the first step
  const T* values;  // likewise

  __device__ Sm90Attention(const AttentionArgs& args, unsigned shared)
      : tile(args.tiles[blockIdx.x]),
        qkv(args.qkv, args.head_dim),
        steps((tile.kv_end - tile.kv_begin + kKeys - 1) / kKeys),
        query_tile(shared),
        stages(shared + Queries::kBytes),
        keys(Keys::thread_rows(qkv, args.num_heads + blockIdx.y, tile.kv_begin)),
        values(keys + args.num_heads * qkv.head_dim) {}

  // What is read together with the values of `step`: the keys of the step after it.
  __device__ unsigned stage(int step) const { return stages + (step + 1) % kStages * kStageBytes; }

  // Keys or values of a step, from what this thread copies of the first key on. Steps go from the
  // last block of keys to the first, so that it is step 0 that may have fewer than kKeys.
  __device__ void load_step(unsigned to, const T* from, int step) const {
    if (step >= steps) return;
    const int first = (steps - 1 - step) * kKeys;
    Keys::template copy_rows<kThreads>(
        to + Keys::thread_offset(), from + static_cast<long long>(first) * qkv.stride, qkv.stride,
        qkv.head_dim, step == 0 ? tile.kv_end - tile.kv_begin - first : kKeys);
  }
  __device__ void load_stage(int step) const {
    load_step(stage(step), keys, step + 1);
    load_step(stage(step) + Keys::kBytes, values, step);
    copy_async_commit();
  }

  // Until at most kPending of the latest stages are under way; the others can be read then, and the
  // one before them, which all have read, can be filled.
  template <int kPending>
  __device__ void await_stage() const {
    copy_async_wait<kPending>();
    shared_writes_to_wgmma();
    __syncthreads();
  }

  // x = q k^T for the keys of a stage.
  __device__ void issue_scores(const unsigned (&q)[kHeadDim / 16][4], unsigned key_tile,
                               float (&x)[kKeys / 2]) const {
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      const unsigned panel = 2 * k / Keys::kPanelChunks;
      const unsigned within = 2 * k % Keys::kPanelChunks * 16;
      const Descriptor b = descriptor<Keys>(key_tile + panel * Keys::kPanelBytes + within);
      if constexpr (kQueriesInRegisters)
        Wgmma<T, kKeys>::keys(x, q[k], b, k > 0);
      else
        Wgmma<T, kKeys>::keys(
            x,
            descriptor<Queries>(query_tile + panel * Queries::kPanelBytes +
                                threadIdx.x / 128 * 64 * Queries::kRowBytes + within),
            b, k > 0);
    }
    wgmma_commit();
  }

  // out += p v for the values of a stage.
  __device__ void issue_sums(const unsigned (&p)[kKeys / 16][4], unsigned value_tile,
                             float (&out)[kHeadDim / 2]) const {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
      Wgmma<T, kHeadDim>::values(out, p[k],
                                 descriptor<Keys>(value_tile + k * 16 * Keys::kRowBytes));
    wgmma_commit();
  }

  // All steps, once queries and the first keys are there. Without kMasked every row sees all keys
  // of the tile. Between the issue of products and the wait for them there is no branch: the
  // compiler would wait at it.
  template <bool kMasked>
  __device__ void attend(const unsigned (&q)[kHeadDim / 16][4], const RowBounds& bounds,
                         float scale, OnlineSoftmax& softmax, float (&out)[kHeadDim / 2]) const {
    float x[kKeys / 2];
    unsigned p[kKeys / 16][4];
    int key = tile.kv_begin + (steps - 1) * kKeys;
    wgmma_fence();
    issue_scores(q, stage(-1), x);
    wgmma_wait<0>(x);
    if (kMasked || key + kKeys > tile.kv_end) mask_scores(x, bounds, key);
    softmax.update(x, scale);
    to_weights<T>(x, p);

    for (int step = 0; step + 1 < steps; ++step) {
      await_stage<kStages - 2>();
      load_stage(step + kStages - 1);
      wgmma_fence();
      issue_scores(q, stage(step), x);
      issue_sums(p, stage(step) + Keys::kBytes, out);

      wgmma_wait<1>(x);
      key -= kKeys;
      if (kMasked) mask_scores(x, bounds, key);
      softmax.update(x, scale);
      pin(x);
      if constexpr (kHold)
        asm volatile("{.reg .pred p; setp.lt.f32 p, %0, 0f00000000; @p st.shared.f32 [%1], %0;}" ::"f"(softmax.sum[0] + softmax.sum[1]), "r"(query_tile) : "memory");
      wgmma_wait<0>(out);
      softmax.shrink_rows(out);
      to_weights<T>(x, p);
    }
    await_stage<kStages - 2>();
    wgmma_fence();
    issue_sums(p, stage(steps - 1) + Keys::kBytes, out);
    wgmma_wait<0>(out);
  }
};

template <class T, int kHeadDim>
__global__ void __launch_bounds__(Sm90Attention<T, kHeadDim>::kThreads,
                                  Sm90Attention<T, kHeadDim>::kBlocks)
    sm90_attention(const __grid_constant__ AttentionArgs args) {
  using Block = Sm90Attention<T, kHeadDim>;
  using Queries = typename Block::Queries;
  constexpr int kStages = Block::kStages;
  extern __shared__ __align__(1024) unsigned char shared[];
  const Block block(args, shared_address(shared));
  const AttentionTile& tile = block.tile;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;

  Queries::template copy_rows<Block::kThreads>(
      block.query_tile + Queries::thread_offset(),
      Queries::thread_rows(block.qkv, blockIdx.y, tile.row_begin), block.qkv.stride,
      block.qkv.head_dim, tile.row_end - tile.row_begin);
  block.load_step(block.stage(-1), block.keys, 0);
  copy_async_commit();
#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) block.load_stage(step);

  const int first_row = tile.row_begin + 16 * warp;
  RowBounds bounds;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = first_row + lane / 4 + 8 * h;
    bounds.begin[h] = row < tile.row_end ? args.bounds[row][0] : tile.kv_begin;
    bounds.end[h] = row < tile.row_end ? args.bounds[row][1] : tile.kv_end;
  }

  block.template await_stage<kStages - 1>();
  unsigned q[kHeadDim / 16][4];
  if constexpr (Block::kQueriesInRegisters) {
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k)
      load_matrices(block.query_tile + Queries::offset(16 * warp + lane % 16, 2 * k + lane / 16),
                    q[k]);
  }

  OnlineSoftmax softmax;
  float out[kHeadDim / 2] = {};
  if (__syncthreads_or(!bounds.covers(tile.kv_begin, tile.kv_end)))
    block.template attend<true>(q, bounds, args.scale, softmax, out);
  else
    block.template attend<false>(q, bounds, args.scale, softmax, out);

  // Through the queries' place in shared memory, so that rows are written in whole chunks. All
  // products with the queries were done before the last barrier.
  softmax.finish(out);
  Queries::put_16_rows(block.query_tile, 16 * warp, out);
  __syncwarp();
  HeadRows<T> result(args.out, args.head_dim);
  result.aligned = true;
  Queries::store_16_rows(block.query_tile, 16 * warp, result, blockIdx.y, first_row, tile.row_end);
}

}  // namespace millrace::cuda
