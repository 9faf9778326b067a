// Attention of packed sequences on wgmma: the fast way on Hopper, compiled for sm_90a alone.
//
// The sums of smxx_attention.cuh. A block is one warpgroup of 64 query rows; it issues the product
// of the next keys and that of the present values together, as in Shah et al., "FlashAttention-3",
// 2024, loads what the step after reads while they run, and turns scores into exponentials, which
// stay in registers as the left factor. The several blocks of a multiprocessor fill each other's
// gaps. Steps go from the last block of keys to the first, so that it is the first step alone that
// may have fewer keys than others and needs a mask; with several sequences in a tile every step has
// one.
//
// Launch: grid (tiles, heads), block kSm90AttentionThreads, dynamic shared bytes
// kSm90AttentionShared<kHeadDim>: 640 * kHeadDim, above 48 KiB for 96 and 128. A tile has at most
// kSm90AttentionTileRows rows and may hold several sequences. head_dim is kHeadDim, and rows of qkv
// and out begin on 16 bytes: elsewhere smxx_attention serves, with the same tiles.
#pragma once

#include "attention_work.cuh"
#include "kernel_args.h"
#include "mma.cuh"
#include "online_softmax.cuh"
#include "shared_tile.cuh"
#include "wgmma.cuh"

namespace millrace::cuda {

inline constexpr int kSm90AttentionThreads = 128;
inline constexpr int kSm90AttentionTileRows = 64;
inline constexpr int kSm90AttentionKeys = 64;  // per step
template <int kHeadDim>
inline constexpr int kSm90AttentionShared =
    5 * SharedTile<bf16, kHeadDim, kSm90AttentionKeys>::kBytes;

// Blocks that share a multiprocessor, as registers allow without spills.
template <int kHeadDim>
inline constexpr int kSm90AttentionBlocks = kHeadDim <= 64   ? 4
                                            : kHeadDim <= 96 ? 3
                                                             : 2;

template <class T, int kHeadDim>
struct Sm90Attention {
  static constexpr int kThreads = kSm90AttentionThreads;
  static constexpr int kKeys = kSm90AttentionKeys;
  using Tile = SharedTile<T, kHeadDim, kKeys>;  // of keys, of values, of queries
  static_assert(kSm90AttentionTileRows == kKeys);
  static constexpr unsigned kStageBytes = 2 * Tile::kBytes;  // keys, then values

  AttentionTile tile;
  int stride;       // of qkv
  int steps;        // blocks of keys
  unsigned stages;  // two in shared memory
  const T* keys;    // what this thread copies of the last block of keys
  const T* values;  // likewise
  RowBounds bounds;
  float scale;
  unsigned q[kHeadDim / 16][4];
  OnlineSoftmax softmax;
  float out[kHeadDim / 2] = {};

  // Begins the loads of the queries and of the first two stages: the keys of step 0, then the
  // values of step 0 and the keys of step 1. A stage holds what is read together.
  __device__ Sm90Attention(const AttentionArgs& args, const AttentionWork& work,
                           unsigned query_tile)
      : tile(work.tile),
        stride(args.qkv.stride),
        steps((tile.kv_end - tile.kv_begin + kKeys - 1) / kKeys),
        stages(query_tile + Tile::kBytes),
        scale(args.scale) {
    const HeadRows<T> qkv(args.qkv, kHeadDim);
    const int last = (steps - 1) * kKeys;
    const int last_count = tile.kv_end - tile.kv_begin - last;
    keys = Tile::thread_rows(qkv, args.num_heads + work.head, tile.kv_begin + last);
    values = keys + args.num_heads * kHeadDim;
    Tile::template copy_rows<kThreads>(query_tile + Tile::thread_offset(),
                                       Tile::thread_rows(qkv, work.head, tile.row_begin), stride,
                                       kHeadDim, tile.row_end - tile.row_begin);
    const unsigned to = stages + Tile::thread_offset();
    Tile::template copy_rows<kThreads>(to, keys, stride, kHeadDim, last_count);
    copy_async_commit();
    if (steps > 1) Tile::template copy_all_rows<kThreads>(to + kStageBytes, keys + back(), stride);
    Tile::template copy_rows<kThreads>(to + kStageBytes + Tile::kBytes, values, stride, kHeadDim,
                                       last_count);
    copy_async_commit();
  }

  // From a block of keys to the one before it.
  __device__ long long back() const { return -static_cast<long long>(kKeys) * stride; }

  // Until at most kPending of the latest stages are under way. The others can be read then, and the
  // one before them, which all have read, can be filled.
  template <int kPending>
  __device__ static void await_stage() {
    copy_async_wait<kPending>();
    shared_writes_to_wgmma();
    __syncthreads();
  }

  // x = q k^T.
  __device__ void issue_scores(unsigned key_word, float (&x)[kKeys / 2]) const {
    using Product = Wgmma<T, kKeys, false>;
    Product::template multiply<false>(x, q[0], descriptor<Tile>(key_word));
#pragma unroll
    for (int k = 1; k < kHeadDim / 16; ++k) {
      const unsigned panel = 2 * k / Tile::kPanelChunks * (Tile::kPanelBytes / 16);
      const unsigned chunk = 2 * k % Tile::kPanelChunks;
      Product::template multiply<true>(x, q[k], descriptor<Tile>(key_word + panel + chunk));
    }
    wgmma_commit();
  }

  // out += p v.
  __device__ void issue_sums(const unsigned (&p)[kKeys / 16][4], unsigned value_word) {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
      Wgmma<T, kHeadDim, true>::template multiply<true>(
          out, p[k], descriptor<Tile>(value_word + k * Tile::kRowBytes));
    wgmma_commit();
  }

  // All steps. Without kMasked every row sees all keys of the tile. Between the issue of products
  // and the wait for them there is no branch around what a thread computes: the compiler would wait
  // at it.
  template <bool kMasked>
  __device__ void attend() {
    constexpr unsigned kValues = Tile::kBytes / 16;  // from a stage's keys, in descriptors
    float x[kKeys / 2];
    unsigned p[kKeys / 16][4];
    int key = tile.kv_begin + (steps - 1) * kKeys;
    unsigned stage = stages;
    wgmma_fence();
    issue_scores(descriptor_word<Tile>(stage), x);
    wgmma_wait<0>(x);
    if (kMasked || key + kKeys > tile.kv_end) mask_scores(x, bounds, key);
    softmax.update(x, scale);
    to_weights<T>(x, p);

    const T* next_keys = keys + 2 * back();
    const T* next_values = values + back();
    for (int left = steps - 1; left > 0; --left) {
      const unsigned to = stage + Tile::thread_offset();
      stage = 2 * stages + kStageBytes - stage;
      const unsigned word = descriptor_word<Tile>(stage);
      await_stage<0>();
      wgmma_fence();
      issue_scores(word, x);
      issue_sums(p, word + kValues);
      if (left > 1) Tile::template copy_all_rows<kThreads>(to, next_keys, stride);
      Tile::template copy_all_rows<kThreads>(to + Tile::kBytes, next_values, stride);
      copy_async_commit();
      next_keys += back();
      next_values += back();

      wgmma_wait<1>(x);
      key -= kKeys;
      if (kMasked) mask_scores(x, bounds, key);
      softmax.update(x, scale);
      wgmma_wait<0>(out);
      softmax.shrink_rows(out);
      to_weights<T>(x, p);
    }
    stage = 2 * stages + kStageBytes - stage;
    await_stage<0>();
    wgmma_fence();
    issue_sums(p, descriptor_word<Tile>(stage) + kValues);
    wgmma_wait<0>(out);
  }
};

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kSm90AttentionThreads, kSm90AttentionBlocks<kHeadDim>)
    sm90_attention(const __grid_constant__ AttentionArgs args) {
  using Block = Sm90Attention<T, kHeadDim>;
  using Tile = typename Block::Tile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const unsigned query_tile = shared_address(shared);
  const AttentionWork work(args);
  work.exit_if_empty();
  const AttentionTile& tile = work.tile;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;

  Block block(args, work, query_tile);
  const int first_row = tile.row_begin + 16 * warp;
  block.bounds = RowBounds(args, tile, first_row);
  block.template await_stage<1>();
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k)
    load_matrices(query_tile + Tile::offset(16 * warp + lane % 16, 2 * k + lane / 16), block.q[k]);

  if (__syncthreads_or(!block.bounds.covers(tile.kv_begin, tile.kv_end)))
    block.template attend<true>();
  else
    block.template attend<false>();

  // Through the queries' place in shared memory, so that rows are written in whole chunks.
  block.softmax.finish(block.out);
  Tile::put_16_rows(query_tile, 16 * warp, block.out);
  __syncwarp();
  HeadRows<T> out(args.out, kHeadDim);
  out.aligned = true;
  Tile::store_16_rows(query_tile, 16 * warp, out, work.head, first_row, tile.row_end);
}

}  // namespace millrace::cuda
