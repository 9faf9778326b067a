// Causal attention over paged keys and values on mma.sync: prompts, chunks of prompts, and single
// tokens.
//
// The sums of smxx_attention.cuh over packed rows: all query heads that share keys stand in one
// tile, token by token (PagedTile), so that keys are read once for all of them. Two shapes of
// block: kRowWarps = 4 gives each of four warps 16 rows and all keys of a step, for many rows;
// kRowWarps = 1 gives every warp the same 16 rows and its own part of the keys, and adds up the
// warps' sums at the end, for few. Keys and values pass through a ring of tiles in shared memory,
// each copied several tiles ahead: a single token is answered as fast as memory gives its keys.
//
// Steps of keys begin at multiples of kKeys, whatever the tile, and keys that a row does not see
// leave its sums as they are: a row's bits depend on its own sequence alone, as long as its tile is
// not split. A tile that is one of several parts of the keys leaves its sums in `partials`; the
// part that arrives last adds them up in the order of the keys (Dao et al., "Flash-Decoding",
// 2023). Positions outside a sequence are never read.
//
// Launch: grid (tiles, kv heads), block Shape::kThreads, dynamic shared bytes Shape::kShared. Any
// 1 <= head_dim <= kHeadDim and any stride is right; 16-byte rows and head_dim % 8 == 0 are fast.
#pragma once

#include "kernel_args.h"
#include "mma.cuh"
#include "online_softmax.cuh"
#include "paged_rows.cuh"
#include "paged_sums.cuh"
#include "shared_tile.cuh"

namespace millrace::cuda {

template <int kHeadDim, int kRowWarps>
struct PagedAttentionShape {
  static constexpr int kKeyWarps = kRowWarps > 1 ? 1 : kHeadDim <= 128 ? 4 : 2;
  static constexpr int kThreads = 32 * kRowWarps * kKeyWarps;
  static constexpr int kRows = 16 * kRowWarps;
  static constexpr int kKeys = kHeadDim <= 128 ? 64 : 32;  // per step
  static constexpr int kWarpKeys = kKeys / kKeyWarps;
  static constexpr int kSlots = kRowWarps > 1 ? 4 : 5;  // of the ring
  static constexpr unsigned kTileBytes = SharedTile<bf16, kHeadDim, kKeys>::kBytes;
  static constexpr unsigned kQueryBytes = SharedTile<bf16, kHeadDim, kRows>::kBytes;
  static constexpr unsigned kShared = kSlots * kTileBytes + kQueryBytes;
  // Blocks that share a multiprocessor, as registers allow without spills.
  static constexpr int kBlocks = kRowWarps == 1 ? 2 : kHeadDim <= 64 ? 3 : kHeadDim <= 128 ? 2 : 1;
};

template <class T, int kHeadDim, int kRowWarps>
struct PagedAttention {
  using Shape = PagedAttentionShape<kHeadDim, kRowWarps>;
  static constexpr int kThreads = Shape::kThreads;
  static constexpr int kKeys = Shape::kKeys;
  static constexpr int kWarpKeys = Shape::kWarpKeys;
  static constexpr int kSlots = Shape::kSlots;
  static constexpr bool kKeepsQueries = kHeadDim <= 128;  // in registers
  using Tile = SharedTile<T, kHeadDim, kKeys>;
  using QueryTile = SharedTile<T, kHeadDim, Shape::kRows>;
  static constexpr unsigned kStep = 16 * Tile::kRowBytes;  // 16 rows further down a tile

  const PagedRows<T>& rows;
  unsigned ring;  // the slots, then the queries
  unsigned read = 0;
  unsigned write = 0;
  RowBounds bounds;
  OnlineSoftmax softmax;
  float out[kHeadDim / 2] = {};
  unsigned q[kKeepsQueries ? kHeadDim / 16 : 1][4];

  __device__ PagedAttention(const PagedRows<T>& paged, unsigned shared)
      : rows(paged), ring(shared) {}

  static __device__ int row_warp() { return kRowWarps > 1 ? threadIdx.x / 32 : 0; }
  static __device__ int key_warp() { return kRowWarps > 1 ? 0 : threadIdx.x / 32; }

  __device__ unsigned query_address(int k) const {
    const int lane = threadIdx.x % 32;
    return ring + kSlots * Tile::kBytes +
           QueryTile::offset(16 * row_warp() + lane % 16, 2 * k + lane / 16);
  }

  // Begins to fill the next slot; an empty group where the keys are at their end.
  __device__ void issue(const T* side, int key) {
    if (key < rows.key_end) rows.template load<kHeadDim, kKeys, kThreads>(ring + write, side, key);
    copy_async_commit();
    write = write == (kSlots - 1) * Tile::kBytes ? 0 : write + Tile::kBytes;
  }

  // The tile at `read` is whole, and the one before it may be filled anew.
  __device__ void await_tile() {
    copy_async_wait<kSlots - 2>();
    __syncthreads();
  }
  __device__ void next_tile() {
    read = read == (kSlots - 1) * Tile::kBytes ? 0 : read + Tile::kBytes;
  }

  // x = q k^T.
  __device__ void score(float (&x)[kWarpKeys / 2]) const {
    const int lane = threadIdx.x % 32;
    const unsigned keys =
        ring + read + Tile::offset(key_warp() * kWarpKeys + lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      unsigned a[4];
      if constexpr (kKeepsQueries) {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = q[k][i];
      } else {
        load_matrices(query_address(k), a);
      }
#pragma unroll
      for (int n = 0; n < kWarpKeys / 16; ++n) {
        unsigned b[4];
        load_matrices(Tile::shift(keys, 2 * k) + n * kStep, b);
        multiply_add<T>(x + 8 * n, a, b[0], b[1]);
        multiply_add<T>(x + 8 * n + 4, a, b[2], b[3]);
      }
    }
  }

  // out += p v.
  __device__ void add_values(const unsigned (&p)[kWarpKeys / 16][4]) {
    const int lane = threadIdx.x % 32;
    const unsigned values =
        ring + read + Tile::offset(key_warp() * kWarpKeys + lane % 16, lane / 16);
#pragma unroll
    for (int k = 0; k < kWarpKeys / 16; ++k)
#pragma unroll
      for (int n = 0; n < kHeadDim / 16; ++n) {
        unsigned b[4];
        load_matrices_transposed(Tile::shift(values, 2 * n) + k * kStep, b);
        multiply_add<T>(out + 8 * n, p[k], b[0], b[1]);
        multiply_add<T>(out + 8 * n + 4, p[k], b[2], b[3]);
      }
  }

  __device__ void attend(const PagedAttentionArgs& args, const PagedWork& work) {
    const PagedTile& tile = work.tile;
    constexpr bool kSameSide = kSlots % 2 == 1;  // a slot is filled with what is being read
                                                 // Slots - 1 tiles ahead: keys, values, keys, ...
#pragma unroll
    for (int i = 0; i < kSlots - 1; ++i)
      issue(i % 2 == 0 ? rows.keys : rows.values, tile.key_begin + i / 2 * kKeys);
    rows.template load_queries<kHeadDim, Shape::kRows, kThreads>(ring + kSlots * Tile::kBytes, args,
                                                                 work);
    __syncthreads();
    if constexpr (kKeepsQueries) {
#pragma unroll
      for (int k = 0; k < kHeadDim / 16; ++k) load_matrices(query_address(k), q[k]);
    }
    const float scale = args.soft_cap != 0 ? 1.0f : args.scale;
#pragma unroll 1
    for (int key = tile.key_begin; key < tile.key_end; key += kKeys) {
      const int ahead = key + (kSlots - 1) / 2 * kKeys;
      await_tile();
      issue(kSameSide ? rows.keys : rows.values, ahead);
      float x[kWarpKeys / 2] = {};
      score(x);
      next_tile();
      if (args.soft_cap != 0) cap_scores(x, args.scale, args.soft_cap);
      const int first = key + key_warp() * kWarpKeys;
      if (!bounds.covers(first, first + kWarpKeys)) mask_scores(x, bounds, first);
      softmax.update(x, scale);
      softmax.shrink_rows(out);
      unsigned p[kWarpKeys / 16][4];
      to_weights<T>(x, p);
      await_tile();
      issue(kSameSide ? rows.values : rows.keys, kSameSide ? ahead : ahead + kKeys);
      add_values(p);
      next_tile();
    }
  }
};

template <class T, int kHeadDim, int kRowWarps>
__global__ void __launch_bounds__(PagedAttentionShape<kHeadDim, kRowWarps>::kThreads,
                                  PagedAttentionShape<kHeadDim, kRowWarps>::kBlocks)
    smxx_paged_attention(const __grid_constant__ PagedAttentionArgs args) {
  using Block = PagedAttention<T, kHeadDim, kRowWarps>;
  using Shape = typename Block::Shape;
  using Sums = PagedSums<T, kHeadDim, Shape::kRows, Shape::kKeyWarps, Shape::kThreads>;
  static_assert(Sums::kBytes <= Shape::kShared);
  extern __shared__ __align__(128) unsigned char shared[];
  const PagedWork work(args);
  if (work.tile.row_begin == work.tile.row_end) return;
  const PagedRows<T> rows(args, work);
  Block block(rows, shared_address(shared));
  const int lane = threadIdx.x % 32;
  const int first_row = 16 * block.row_warp() + lane / 4;
#pragma unroll
  for (int h = 0; h < 2; ++h) work.bounds_of(args, first_row + 8 * h, block.bounds, h);
  block.attend(args, work);

  copy_async_wait<0>();
  __syncthreads();  // the ring is read
  Sums sums(reinterpret_cast<float*>(shared));
  const float scale = args.soft_cap != 0 ? 1.0f : args.scale;
  sums.put(block.key_warp(), 16 * block.row_warp(), block.out, block.softmax, scale);
  __syncthreads();
  sums.finish(args, work);
}

}  // namespace millrace::cuda
