// Rows that are worked on vector by vector, with no sum over a row.
//
// Launch of all kernels that include this file: grid (ceil(vectors / threads), rows), where a row
// has ceil(width / kVector<T>) vectors; block a multiple of 32 up to kRowThreads, no dynamic shared
// bytes. Fewer blocks in y stride over the rows.
#pragma once

#include "decoder_row_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kRowThreads = 256;

// Calls body(row, column) for the first column of each vector of this thread.
template <class T, class Body>
__device__ inline void for_each_vector(int rows, int width, const Body& body) {
  const int column = (blockIdx.x * blockDim.x + threadIdx.x) * kVector<T>;
  if (column >= width) return;
  for (long long row = blockIdx.y; row < rows; row += gridDim.y) body(row, column);
}

// A vector of which `count` elements, or all, are in the row. `aligned`: of all rows.
template <class T>
__device__ inline void load_some(const T* p, bool aligned, int count, float (&x)[kVector<T>]) {
  if (aligned && count >= kVector<T>)
    load_vector(p, x);
  else
    load_part(p, count, x);
}
template <class T>
__device__ inline void store_some(T* p, bool aligned, int count, const float (&x)[kVector<T>]) {
  if (aligned && count >= kVector<T>)
    store_vector(p, x);
  else
    store_part(p, count, x);
}

}  // namespace millrace::cuda
