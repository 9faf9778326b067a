// Attention of packed sequences on mma.sync: one block holds a tile of queries and walks over keys.
//
// out = softmax(scale q k^T) v per head, without the score matrix in memory: Dao,
// "FlashAttention-2", 2023. Each of four warps owns 16 query rows, keeps their scores and sums in
// registers, and feeds the exponentials to the second product as they lie. Blocks of keys begin at
// the tile's first key, so a row's order of summation depends on its own sequence alone if the tile
// has no other.
//
// Launch: grid (tiles, heads), block kSmxxAttentionThreads, dynamic shared bytes
// kSmxxAttentionShared<kHeadDim>: 512 * kHeadDim, above 48 KiB for 128 alone. A tile has at most
// kSmxxAttentionTileRows rows and may hold several sequences. Any stride and any
// 1 <= head_dim <= kHeadDim is right; 16-byte rows and head_dim % 8 == 0 are fast.
#pragma once

#include "attention_work.cuh"
#include "kernel_args.h"
#include "mma.cuh"
#include "online_softmax.cuh"
#include "shared_tile.cuh"

namespace millrace::cuda {

inline constexpr int kSmxxAttentionThreads = 128;
inline constexpr int kSmxxAttentionTileRows = 64;
inline constexpr int kSmxxAttentionKeys = 64;  // per step
template <int kHeadDim>
inline constexpr int kSmxxAttentionShared =
    4 * SharedTile<bf16, kHeadDim, kSmxxAttentionKeys>::kBytes;

// Blocks that share a multiprocessor, as registers allow without spills.
template <int kHeadDim>
inline constexpr int kSmxxAttentionBlocks = kHeadDim <= 32   ? 4
                                            : kHeadDim <= 64 ? (__CUDA_ARCH__ < 1000 ? 4 : 3)
                                            : kHeadDim <= 96 ? 3
                                                             : 2;

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kSmxxAttentionThreads, kSmxxAttentionBlocks<kHeadDim>)
    smxx_attention(const __grid_constant__ AttentionArgs args) {
  using Tile = SharedTile<T, kHeadDim, kSmxxAttentionKeys>;
  constexpr int kThreads = kSmxxAttentionThreads;
  constexpr int kKeys = kSmxxAttentionKeys;
  static_assert(kSmxxAttentionTileRows == kKeys);  // queries are loaded as a tile of keys
  constexpr unsigned kTileBytes = Tile::kBytes;
  constexpr unsigned kStep = 16 * Tile::kRowBytes;  // 16 rows further down a tile
  extern __shared__ __align__(128) unsigned char shared[];
  const unsigned key_tiles = shared_address(shared);
  const unsigned value_tiles = key_tiles + 2 * kTileBytes;

  const AttentionWork work(args);
  work.exit_if_empty();
  const AttentionTile& tile = work.tile;
  const int head = work.head;
  const int key_head = args.num_heads + head;
  const int value_head = args.num_heads + key_head;
  const HeadRows<T> qkv(args.qkv, args.head_dim);
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;

  // The queries pass through the second buffer of keys on their way to registers.
  Tile::template load<kThreads>(key_tiles + kTileBytes, qkv, head, tile.row_begin, tile.row_end);
  copy_async_commit();
  Tile::template load<kThreads>(key_tiles, qkv, key_head, tile.kv_begin, tile.kv_end);
  Tile::template load<kThreads>(value_tiles, qkv, value_head, tile.kv_begin, tile.kv_end);
  copy_async_commit();

  const int first_row = tile.row_begin + 16 * warp;
  const RowBounds bounds(args, tile, first_row);

  copy_async_wait<1>();
  __syncthreads();
  unsigned q[kHeadDim / 16][4];
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k)
    load_matrices(key_tiles + kTileBytes + Tile::offset(16 * warp + lane % 16, 2 * k + lane / 16),
                  q[k]);

  OnlineSoftmax softmax;
  float out[kHeadDim / 2] = {};
  const unsigned lane_keys = key_tiles + Tile::offset(lane / 16 * 8 + lane % 8, lane / 8 % 2);
  const unsigned lane_values = value_tiles + Tile::offset(lane % 16, lane / 16);
  unsigned buffer = 0;  // offset of this step's tiles
  for (int key = tile.kv_begin; key < tile.kv_end; key += kKeys) {
    copy_async_wait<0>();
    __syncthreads();  // this step's tiles are whole, and the other buffers are read
    if (key + kKeys < tile.kv_end) {
      const unsigned next = buffer ^ kTileBytes;
      Tile::template load<kThreads>(key_tiles + next, qkv, key_head, key + kKeys, tile.kv_end);
      Tile::template load<kThreads>(value_tiles + next, qkv, value_head, key + kKeys, tile.kv_end);
      copy_async_commit();
    }

    float x[kKeys / 2] = {};
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k)
#pragma unroll
      for (int n = 0; n < kKeys / 16; ++n) {
        unsigned b[4];
        load_matrices(Tile::shift(lane_keys + buffer, 2 * k) + n * kStep, b);
        multiply_add<T>(x + 8 * n, q[k], b[0], b[1]);
        multiply_add<T>(x + 8 * n + 4, q[k], b[2], b[3]);
      }

    if (!bounds.covers(key, key + kKeys)) mask_scores(x, bounds, key);
    softmax.update(x, args.scale);
    softmax.shrink_rows(out);
    unsigned p[kKeys / 16][4];
    to_weights<T>(x, p);

#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
      for (int n = 0; n < kHeadDim / 16; ++n) {
        unsigned b[4];
        load_matrices_transposed(Tile::shift(lane_values + buffer, 2 * n) + k * kStep, b);
        multiply_add<T>(out + 8 * n, p[k], b[0], b[1]);
        multiply_add<T>(out + 8 * n + 4, p[k], b[2], b[3]);
      }
    }
    buffer ^= kTileBytes;
  }

  // Through shared memory, so that rows are written in whole chunks.
  softmax.finish(out);
  __syncthreads();
  Tile::put_16_rows(key_tiles, 16 * warp, out);
  __syncwarp();
  Tile::store_16_rows(key_tiles, 16 * warp, HeadRows<T>(args.out, args.head_dim), head, first_row,
                      tile.row_end);
}

}  // namespace millrace::cuda
