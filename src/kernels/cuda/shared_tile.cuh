// Tiles of 16-bit numbers in shared memory, filled asynchronously, without bank conflicts.
//
// A tile is one or more panels side by side, each of kRows rows of 128 bytes, or of 64 where the
// columns do not fill 128. Within a row its chunks of 16 bytes are permuted, chunk ^ row % 8 or
// chunk ^ row / 2 % 4: so the same chunk of eight successive rows, what one ldmatrix reads, lies in
// eight different groups of four banks. wgmma knows these patterns as 128-byte and 64-byte swizzle.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

__device__ inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// 16 bytes, or as many zeros where `valid` is false; `from` is not read then.
__device__ inline void copy_async(unsigned to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void copy_async(unsigned to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ inline void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Until at most kPending of this thread's latest groups are under way.
template <int kPending>
__device__ inline void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

__device__ inline void store_shared(unsigned to, const unsigned (&x)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(x[0]), "r"(x[1]),
               "r"(x[2]), "r"(x[3])
               : "memory");
}
__device__ inline void store_shared(unsigned to, unsigned x) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(x) : "memory");
}
__device__ inline void load_shared(unsigned from, unsigned (&x)[4]) {
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from)
               : "memory");
}

// Rows of several heads in device memory, head_dim columns each.
template <class T>
struct HeadRows {
  T* data;
  int stride;    // elements
  int head_dim;  // columns past it in a tile are zero
  bool aligned;  // each head of each row begins on 16 bytes and holds whole chunks

  __device__ HeadRows(const Rows& rows, int dim)
      : data(static_cast<T*>(rows.data)),
        stride(rows.stride),
        head_dim(dim),
        aligned(dim % 8 == 0 && are_rows_aligned(data, stride)) {}

  __device__ T* row(int head, int r) const {
    return data + static_cast<long long>(r) * stride + static_cast<long long>(head) * head_dim;
  }
};

template <class T, int kColumns, int kRows>
struct SharedTile {
  static_assert(kColumns % 32 == 0 && kRows % 8 == 0);
  static constexpr int kChunks = kColumns / 8;
  static constexpr int kPanelChunks = kChunks % 8 == 0 ? 8 : 4;  // of one row
  static constexpr unsigned kRowBytes = kPanelChunks * 16;       // in one panel
  static constexpr unsigned kPanelBytes = kRows * kRowBytes;
  static constexpr unsigned kBytes = kChunks / kPanelChunks * kPanelBytes;

  static __device__ unsigned offset(int row, int chunk) {
    const int permutation = kPanelChunks == 8 ? row % 8 : row / 2 % 4;
    return chunk / kPanelChunks * kPanelBytes + row * kRowBytes +
           (chunk % kPanelChunks ^ permutation) * 16;
  }

  // From the address of one chunk, in a tile that begins on 128 bytes, to that of the chunk whose
  // number has `chunks` added without a carry: one exclusive or instead of a register per chunk.
  static __device__ unsigned shift(unsigned address, int chunks) {
    return (address ^ (chunks % kPanelChunks * 16)) + chunks / kPanelChunks * kPanelBytes;
  }

  // The first chunk of a tile, and of rows in device memory, that this thread copies.
  static __device__ unsigned thread_offset() {
    return offset(threadIdx.x / kPanelChunks, threadIdx.x % kPanelChunks);
  }
  static __device__ const T* thread_rows(const HeadRows<T>& rows, int head, int first) {
    return rows.row(head, first + static_cast<int>(threadIdx.x) / kPanelChunks) +
           threadIdx.x % kPanelChunks * 8;
  }

  // Begins to fill a tile with rows of which `count` exist, and with zeros after them; all kThreads
  // threads of the block take part, each from its own `to` and `from`.
  template <int kThreads>
  static __device__ void copy_rows(unsigned to, const T* from, int stride, int head_dim,
                                   int count) {
    constexpr int kPass = kThreads / kPanelChunks;  // rows that all threads copy at a time
    static_assert(kPass % 8 == 0);
    const int row = threadIdx.x / kPanelChunks;
    const int column = threadIdx.x % kPanelChunks * 8;
#pragma unroll
    for (int r = 0; r < kRows; r += kPass, from += kPass * stride) {
      if (kRows % kPass != 0 && row + r >= kRows) break;
#pragma unroll
      for (int c = 0; c < kChunks; c += kPanelChunks)
        copy_async(to + r * kRowBytes + c / kPanelChunks * kPanelBytes, from + 8 * c,
                   r < count - row && column + 8 * c < head_dim);
    }
  }

  // The same for rows that fill the tile.
  template <int kThreads>
  static __device__ void copy_all_rows(unsigned to, const T* from, int stride) {
    constexpr int kPass = kThreads / kPanelChunks;
    static_assert(kPass % 8 == 0 && kRows % kPass == 0);
#pragma unroll
    for (int r = 0; r < kRows; r += kPass, from += kPass * stride)
#pragma unroll
      for (int c = 0; c < kChunks; c += kPanelChunks)
        copy_async(to + r * kRowBytes + c / kPanelChunks * kPanelBytes, from + 8 * c);
  }

  // The same for the rows `first`, ... before `end` of a head, also where they are not aligned:
  // then at once.
  template <int kThreads>
  static __device__ void load(unsigned tile, const HeadRows<T>& rows, int head, int first,
                              int end) {
    const T* from = thread_rows(rows, head, first);
    const unsigned to = tile + thread_offset();
    if (rows.aligned) {
      copy_rows<kThreads>(to, from, rows.stride, rows.head_dim, end - first);
      return;
    }
    constexpr int kPass = kThreads / kPanelChunks;
    const int row = threadIdx.x / kPanelChunks;
    const int column = threadIdx.x % kPanelChunks * 8;
#pragma unroll 1
    for (int r = 0; row + r < kRows; r += kPass, from += kPass * rows.stride)
#pragma unroll 1
      for (int c = 0; c < kChunks; c += kPanelChunks) {
        const int count = first + row + r < end ? rows.head_dim - column - 8 * c : 0;
        unsigned x[4] = {};
#pragma unroll
        for (int e = 0; e < 8; ++e)
          if (e < count) x[e / 2] |= unsigned{from[8 * c + e].bits} << 16 * (e % 2);
        store_shared(to + r * kRowBytes + c / kPanelChunks * kPanelBytes, x);
      }
  }

  // Writes a head's rows `first`, ... before `end` from a tile that holds the first of them in its
  // row `tile_row`; the lanes of one warp take part, for 16 rows.
  static __device__ void store_16_rows(unsigned tile, int tile_row, const HeadRows<T>& rows,
                                       int head, int first, int end) {
#pragma unroll
    for (int i = 0; i < 16 * kChunks / 32; ++i) {
      const int index = i * 32 + threadIdx.x % 32;
      const int row = index / kChunks;
      const int column = index % kChunks * 8;
      if (first + row >= end || column >= rows.head_dim) continue;
      unsigned x[4];
      load_shared(tile + offset(tile_row + row, column / 8), x);
      T* to = rows.row(head, first + row) + column;
      if (rows.aligned) {
        *reinterpret_cast<uint4*>(to) = make_uint4(x[0], x[1], x[2], x[3]);
      } else {
#pragma unroll
        for (int e = 0; e < 8; ++e)
          if (column + e < rows.head_dim)
            to[e] = T{static_cast<unsigned short>(x[e / 2] >> 16 * (e % 2))};
      }
    }
  }

  // Puts 16 rows of accumulators (online_softmax.cuh) into a tile from its row `tile_row` on.
  static __device__ void put_16_rows(unsigned tile, int tile_row, const float (&x)[kColumns / 2]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < kChunks; ++j)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        store_shared(tile + offset(tile_row + lane / 4 + 8 * h, j) + lane % 4 * 4,
                     pack<T>(x[4 * j + 2 * h], x[4 * j + 2 * h + 1]));
  }
};

}  // namespace millrace::cuda
