// What a block of a paged attention kernel works on, and where its rows lie.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"
#include "online_softmax.cuh"
#include "shared_tile.cuh"

namespace millrace::cuda {

// As AttentionWork: every head of a tile before the next tile.
struct PagedWork {
  int head;  // of keys and values
  PagedTile tile;

  __device__ explicit PagedWork(const PagedAttentionArgs& args) {
    const unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
    head = block % args.num_kv_heads;
    tile = args.tiles[block / args.num_kv_heads];
  }

  // The token of a packed row, and the query head among all.
  __device__ int token_of(const PagedAttentionArgs& args, int row) const {
    return tile.token + row / args.group;
  }
  __device__ int head_of(const PagedAttentionArgs& args, int row) const {
    return head * args.group + row % args.group;
  }

  // The first key that a packed row sees, and one past its last.
  __device__ int first_key(const PagedAttentionArgs& args, int row) const {
    const int position = tile.position + row / args.group;
    return args.window > 0 ? max(0, position - args.window + 1) : 0;
  }
  __device__ int end_key(const PagedAttentionArgs& args, int row) const {
    return tile.position + row / args.group + 1;
  }

  // The bounds of a row counted from the tile's first. Rows past the tile, which nobody reads, have
  // those of its last.
  __device__ void bounds_of(const PagedAttentionArgs& args, int row, RowBounds& bounds,
                            int h) const {
    const int packed = min(tile.row_begin + row, tile.row_end - 1);
    bounds.begin[h] = first_key(args, packed);
    bounds.end[h] = end_key(args, packed);
  }
};

// Scores become c log2(e) tanh(score / c): the softmax then works with 2^x and the scale 1.
// tanh(y) = 1 - 2 / (e^(2 y) + 1), whose error is absolute, as that of a score matters.
template <int kCount>
__device__ inline void cap_scores(float (&x)[kCount], float scale, float cap) {
#pragma unroll
  for (int i = 0; i < kCount; ++i)
    x[i] = cap * fmaf(-2.0f, reciprocal(exp2_fast(fminf(x[i] * scale, 126.0f)) + 1.0f), 1.0f);
}

// Keys and values of one sequence and head.
template <class T>
struct PagedRows {
  const T* keys;    // of the head in block 0
  const T* values;  // likewise
  const int* table;
  long long block_stride;  // elements between blocks
  unsigned long long block_magic;
  int block_size;
  int head_dim;
  int key_begin;  // the first that any row of the tile sees: those before it may be anyone's
  int key_end;
  bool aligned;  // rows begin on 16 bytes and hold whole chunks

  __device__ PagedRows(const PagedAttentionArgs& args, const PagedWork& work)
      : table(args.numbers + work.tile.table),
        block_stride(static_cast<long long>(args.num_kv_heads) * args.block_size * args.head_dim),
        block_magic(args.block_magic),
        block_size(args.block_size),
        head_dim(args.head_dim),
        key_begin(work.first_key(args, work.tile.row_begin)),
        key_end(work.tile.key_end) {
    const long long offset = static_cast<long long>(work.head) * block_size * head_dim;
    keys = static_cast<const T*>(args.keys) + offset;
    values = static_cast<const T*>(args.values) + offset;
    aligned = head_dim % kVector<T> == 0 && is_aligned(static_cast<const T*>(args.keys)) &&
              is_aligned(static_cast<const T*>(args.values));
  }

  __device__ bool sees(int key) const { return key >= key_begin && key < key_end; }

  // The row of a key that the tile sees.
  __device__ const T* row(const T* side, int key) const {
    const int block = static_cast<int>(static_cast<unsigned>(key) * block_magic >> 32);
    return side + table[block] * block_stride +
           static_cast<long long>(key - block * block_size) * head_dim;
  }

  // Begins to fill a tile with the keys or values from `first` on, and zeros where the tile sees
  // none. Without kAnyRows, rows are known to be aligned. No branch depends on a key: one that is
  // not seen stands for the nearest that is, and is not read.
  template <int kColumns, int kRows, int kThreads, bool kAnyRows = true>
  __device__ void load(unsigned tile, const T* side, int first) const {
    using Tile = SharedTile<T, kColumns, kRows>;
    constexpr int kPass = kThreads / Tile::kPanelChunks;  // rows that all threads copy at a time
    static_assert(kPass % 8 == 0 && (kRows % kPass == 0 || kPass > kRows));
    const int thread_row = threadIdx.x / Tile::kPanelChunks;
    const int column = threadIdx.x % Tile::kPanelChunks * 8;
    const unsigned to = tile + Tile::thread_offset();
#pragma unroll
    for (int r = 0; r < kRows; r += kPass) {
      if (kRows < kPass && thread_row >= kRows) break;
      const int key = first + thread_row + r;
      const bool inside = sees(key);
      const T* from = row(side, min(max(key, key_begin), key_end - 1)) + column;
      if (!kAnyRows || aligned) {
#pragma unroll
        for (int c = 0; c < Tile::kChunks; c += Tile::kPanelChunks)
          copy_async(to + r * Tile::kRowBytes + c / Tile::kPanelChunks * Tile::kPanelBytes,
                     from + 8 * c, inside && column + 8 * c < head_dim);
      } else {
#pragma unroll 1
        for (int c = 0; c < Tile::kChunks; c += Tile::kPanelChunks) {
          const int count = inside ? head_dim - column - 8 * c : 0;
          store_shared(to + r * Tile::kRowBytes + c / Tile::kPanelChunks * Tile::kPanelBytes,
                       from + 8 * c, count);
        }
      }
    }
  }

  // Fills a tile with the packed query rows of the work, and zeros after them.
  template <int kColumns, int kRows, int kThreads>
  __device__ void load_queries(unsigned tile, const PagedAttentionArgs& args,
                               const PagedWork& work) const {
    using Tile = SharedTile<T, kColumns, kRows>;
    const HeadRows<T> queries(args.qkv, head_dim);
    constexpr int kItems = kRows * Tile::kChunks;
#pragma unroll 1
    for (int i = threadIdx.x; i < kItems; i += kThreads) {
      const int chunk = i % Tile::kChunks;
      const int packed = work.tile.row_begin + i / Tile::kChunks;
      const int count = packed < work.tile.row_end ? head_dim - 8 * chunk : 0;
      const unsigned to = tile + Tile::offset(i / Tile::kChunks, chunk);
      const T* from = static_cast<const T*>(args.qkv.data);
      if (count > 0) {
        from = queries.row(work.head_of(args, packed), work.token_of(args, packed)) + 8 * chunk;
        if (queries.aligned) {
          const uint4 v = *reinterpret_cast<const uint4*>(from);
          store_shared(to, {v.x, v.y, v.z, v.w});
          continue;
        }
      }
      store_shared(to, from, count);
    }
  }

 private:
  // Up to eight numbers at any address, and zeros after them.
  static __device__ void store_shared(unsigned to, const T* from, int count) {
    unsigned x[4] = {};
#pragma unroll
    for (int e = 0; e < 8; ++e)
      if (e < count) x[e / 2] |= unsigned{from[e].bits} << 16 * (e % 2);
    store_shared(to, x);
  }
  static __device__ void store_shared(unsigned to, const unsigned (&x)[4]) {
    cuda::store_shared(to, x);
  }
};

}  // namespace millrace::cuda
