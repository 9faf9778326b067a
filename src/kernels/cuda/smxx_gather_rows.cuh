// out[r] = scale * one row of a table: embedding of tokens, and the rows whose logits are wanted.
//
// Launch: as row_vectors.cuh says. Indices are trusted.
#pragma once

#include "row_vectors.cuh"

namespace millrace::cuda {

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    smxx_gather_rows(const __grid_constant__ GatherRowsArgs args) {
  const T* table = static_cast<const T*>(args.table.data);
  T* out = static_cast<T*>(args.out.data);
  const bool aligned =
      are_rows_aligned(table, args.table.stride) && are_rows_aligned(out, args.out.stride);
  for_each_vector<T>(args.rows, args.width, [&](long long row, int column) {
    int index = args.indices[row];
    if (index < 0) index = max(args.sampled[~index], 0);
    float x[kVector<T>];
    const int count = args.width - column;
    load_some(table + static_cast<long long>(index) * args.table.stride + column, aligned, count,
              x);
#pragma unroll
    for (int e = 0; e < kVector<T>; ++e) x[e] *= args.scale;
    store_some(out + row * args.out.stride + column, aligned, count, x);
  });
}

}  // namespace millrace::cuda
