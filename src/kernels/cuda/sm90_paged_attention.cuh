// Causal attention over paged keys and values on wgmma: the fast way for many rows on Hopper,
// compiled for sm_90a alone.
//
// The tiles and sums of smxx_paged_attention.cuh, on the loop of sm90_attention.cuh: a block is one
// warpgroup of 64 packed rows that goes from the last keys to the first, issues the product of the
// next keys and that of the present values together, and loads what the step after reads while they
// run. Only the last steps of keys cut rows off; a window cuts at both ends, and has a mask in
// each.
//
// Launch: grid (tiles, kv heads), block kSm90PagedThreads, dynamic shared bytes
// kSm90PagedShared<kHeadDim>. head_dim is kHeadDim, and scores have no soft cap: elsewhere
// smxx_paged_attention serves, with the same tiles.
#pragma once

#include "kernel_args.h"
#include "mma.cuh"
#include "online_softmax.cuh"
#include "paged_rows.cuh"
#include "paged_sums.cuh"
#include "shared_tile.cuh"
#include "wgmma.cuh"

namespace millrace::cuda {

inline constexpr int kSm90PagedThreads = 128;
inline constexpr int kSm90PagedKeys = 64;  // per step
template <int kHeadDim>
inline constexpr int kSm90PagedShared = 5 * SharedTile<bf16, kHeadDim, kSm90PagedKeys>::kBytes;

template <class T, int kHeadDim>
struct Sm90PagedAttention {
  static constexpr int kThreads = kSm90PagedThreads;
  static constexpr int kKeys = kSm90PagedKeys;
  using Tile = SharedTile<T, kHeadDim, kKeys>;               // of keys, of values, of queries
  static constexpr unsigned kStageBytes = 2 * Tile::kBytes;  // keys, then values
  static constexpr unsigned kValues = Tile::kBytes / 16;     // from a stage's keys, in descriptors

  const PagedRows<T>& rows;
  unsigned stages;  // two in shared memory
  unsigned stage;   // that is read
  int key;          // the first of the step's
  RowBounds bounds;
  float scale;
  unsigned q[kHeadDim / 16][4];
  OnlineSoftmax softmax;
  float out[kHeadDim / 2] = {};
  float x[kKeys / 2];
  unsigned p[kKeys / 16][4];

  __device__ Sm90PagedAttention(const PagedRows<T>& paged, unsigned first_stage, float log_scale)
      : rows(paged), stages(first_stage), stage(first_stage), scale(log_scale) {}

  __device__ void load(unsigned to, const T* side, int first) const {
    rows.template load<kHeadDim, kKeys, kThreads, false>(to, side, first);
  }

  __device__ static void await_stage() {
    copy_async_wait<0>();
    shared_writes_to_wgmma();
    __syncthreads();
  }

  // x = q k^T.
  __device__ void issue_scores(unsigned key_word) {
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
  __device__ void issue_sums(unsigned value_word) {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k)
      Wgmma<T, kHeadDim, true>::template multiply<true>(
          out, p[k], descriptor<Tile>(value_word + k * Tile::kRowBytes));
    wgmma_commit();
  }

  // The last keys; a stage holds what is read together: the keys of a step and the values of the
  // one before it.
  __device__ void begin() {
    wgmma_fence();
    issue_scores(descriptor_word<Tile>(stage));
    wgmma_wait<0>(x);
    mask_scores(x, bounds, key);
    softmax.update(x, scale);
    to_weights<T>(x, p);
  }

  // The keys before them. Between the issue of products and the wait for them there is no branch
  // around what a thread computes: the compiler would wait at it.
  template <bool kMasked>
  __device__ void step(bool is_first) {
    const unsigned to = stage;
    stage = 2 * stages + kStageBytes - stage;
    const unsigned word = descriptor_word<Tile>(stage);
    await_stage();
    wgmma_fence();
    issue_scores(word);
    issue_sums(word + kValues);
    key -= kKeys;
    if (!is_first) load(to, rows.keys, key - kKeys);
    load(to + Tile::kBytes, rows.values, key);
    copy_async_commit();

    wgmma_wait<1>(x);
    if (kMasked) mask_scores(x, bounds, key);
    softmax.update(x, scale);
    wgmma_wait<0>(out);
    softmax.shrink_rows(out);
    to_weights<T>(x, p);
  }

  __device__ void end() {
    stage = 2 * stages + kStageBytes - stage;
    await_stage();
    wgmma_fence();
    issue_sums(descriptor_word<Tile>(stage) + kValues);
    wgmma_wait<0>(out);
  }
};

template <class T, int kHeadDim>
__global__ void __launch_bounds__(kSm90PagedThreads, kHeadDim <= 64 ? 3 : 2)
    sm90_paged_attention(const __grid_constant__ PagedAttentionArgs args) {
  using Block = Sm90PagedAttention<T, kHeadDim>;
  using Tile = typename Block::Tile;
  using Sums = PagedSums<T, kHeadDim, 64, 1, kSm90PagedThreads>;
  static_assert(Sums::kBytes <= kSm90PagedShared<kHeadDim>);
  constexpr int kKeys = kSm90PagedKeys;
  extern __shared__ __align__(1024) unsigned char shared[];
  const unsigned query_tile = shared_address(shared);
  const PagedWork work(args);
  const PagedTile& tile = work.tile;
  if (tile.row_begin == tile.row_end) return;
  const PagedRows<T> rows(args, work);
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;

  Block block(rows, query_tile + Tile::kBytes, args.scale);
  int left = (tile.key_end - tile.key_begin + kKeys - 1) / kKeys - 1;  // steps behind the first
  block.key = tile.key_begin + left * kKeys;
  block.load(block.stages, rows.keys, block.key);
  if (left > 0) block.load(block.stages + Block::kStageBytes, rows.keys, block.key - kKeys);
  block.load(block.stages + Block::kStageBytes + Tile::kBytes, rows.values, block.key);
  copy_async_commit();
  rows.template load_queries<kHeadDim, 64, kSm90PagedThreads>(query_tile, args, work);
#pragma unroll
  for (int h = 0; h < 2; ++h) work.bounds_of(args, 16 * warp + lane / 4 + 8 * h, block.bounds, h);
  block.await_stage();
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k)
    load_matrices(query_tile + Tile::offset(16 * warp + lane % 16, 2 * k + lane / 16), block.q[k]);

  // Steps that end behind the last key of the first row cut rows off.
  const int all_see = args.window > 0 ? tile.key_begin : work.end_key(args, tile.row_begin);
  block.begin();
  for (; left > 0 && block.key > all_see; --left) block.template step<true>(left == 1);
  for (; left > 0; --left) block.template step<false>(left == 1);
  block.end();

  __syncthreads();  // the stages are read
  Sums sums(reinterpret_cast<float*>(shared));
  sums.put(0, 16 * warp, block.out, block.softmax, block.scale);
  __syncthreads();
  sums.finish(args, work);
}

}  // namespace millrace::cuda
