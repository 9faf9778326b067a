// out = f(gate) * up, of rows that hold gate before up.
//
// Launch: as row_vectors.cuh says.
#pragma once

#include "activation.cuh"
#include "row_vectors.cuh"

namespace millrace::cuda {

template <class T, int kFunction>
__global__ void __launch_bounds__(kRowThreads)
    smxx_act_and_mul(const __grid_constant__ ActAndMulArgs args) {
  const T* x = static_cast<const T*>(args.x.data);
  T* out = static_cast<T*>(args.out.data);
  const bool aligned = are_rows_aligned(x, args.x.stride) && are_rows_aligned(out, args.out.stride);
  const bool up_aligned = aligned && args.width % kVector<T> == 0;
  for_each_vector<T>(args.rows, args.width, [&](long long row, int column) {
    float gate[kVector<T>], up[kVector<T>];
    const int count = args.width - column;
    const T* from = x + row * args.x.stride + column;
    load_some(from, aligned, count, gate);
    load_some(from + args.width, up_aligned, count, up);
#pragma unroll
    for (int e = 0; e < kVector<T>; ++e) gate[e] = activate<kFunction>(gate[e]) * up[e];
    store_some(out + row * args.out.stride + column, aligned, count, gate);
  });
}

}  // namespace millrace::cuda
