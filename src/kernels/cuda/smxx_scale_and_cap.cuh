// Logits scaled, and bent towards a cap, in place.
//
// Launch: as row_vectors.cuh says, of float.
#pragma once

#include "row_vectors.cuh"

namespace millrace::cuda {

__global__ void __launch_bounds__(kRowThreads)
    smxx_scale_and_cap(const __grid_constant__ ScaleAndCapArgs args) {
  float* x = static_cast<float*>(args.x.data);
  const bool aligned = are_rows_aligned(x, args.x.stride);
  const float inverse = 1.0f / args.soft_cap;
  for_each_vector<float>(args.rows, args.width, [&](long long row, int column) {
    float y[kVector<float>];
    const int count = args.width - column;
    float* at = x + row * args.x.stride + column;
    load_some(at, aligned, count, y);
#pragma unroll
    for (int e = 0; e < kVector<float>; ++e) {
      y[e] *= args.scale;
      if (args.soft_cap > 0.0f) y[e] = args.soft_cap * tanhf(y[e] * inverse);
    }
    store_some(at, aligned, count, y);
  });
}

}  // namespace millrace::cuda
