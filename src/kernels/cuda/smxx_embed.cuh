// out = LN(the sum of one row of each embedding table), summed in float.
//
// Launch: as smxx_add_layer_norm: grid ceil(rows / kNormRowsPerBlock<kWarps>), block
// kNormThreads<kWarps>, no dynamic shared bytes; the choice of kVectors and kWarps stands in
// row_norm.cuh. Indices are trusted.
#pragma once

#include "row_norm.cuh"

namespace millrace::cuda {

template <class T, int kVectors, int kWarps, bool kAligned>
__device__ void embed_row(const EmbedArgs& args, long long row) {
  RegisterRow<T, kVectors, kWarps> x;
#pragma unroll
  for (int t = 0; t < 3; ++t) {
    if (args.tables[t] == nullptr) continue;
    const long long index = args.indices[t][row];
    x.template add<kAligned>(static_cast<const T*>(args.tables[t]) + index * args.width,
                             args.width);
  }
  T* out = static_cast<T*>(args.out.data) + row * args.out.stride;
  x.template normalize<kAligned>(args.norm, args.width, out);
}

template <class T, int kVectors, int kWarps = 1>
__global__ void __launch_bounds__(kNormThreads<kWarps>)
    smxx_embed(const __grid_constant__ EmbedArgs args) {
  const int row = norm_row<kWarps>();
  if (row >= args.rows) return;
  bool aligned = is_norm_aligned<T>(args.norm, args.width) &&
                 are_rows_aligned(static_cast<const T*>(args.out.data), args.out.stride);
#pragma unroll
  for (int t = 0; t < 3; ++t)
    aligned = aligned && is_aligned(static_cast<const T*>(args.tables[t]));
  if (aligned)
    embed_row<T, kVectors, kWarps, true>(args, row);
  else
    embed_row<T, kVectors, kWarps, false>(args, row);
}

}  // namespace millrace::cuda
