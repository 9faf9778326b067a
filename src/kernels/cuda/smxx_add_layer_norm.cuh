// residual = LN(residual + delta), a row in the registers of one warp or of one block.
//
// Launch: grid ceil(rows / kNormRowsPerBlock<kWarps>), block kNormThreads<kWarps>, no dynamic
// shared bytes: 4 rows and 128 threads where kWarps is 1, else one row and 32 * kWarps threads. The
// choice of kVectors and kWarps stands in row_norm.cuh. Any width, stride and alignment is right;
// rows that begin on 16 bytes with a width of whole vectors are fast.
#pragma once

#include "row_norm.cuh"

namespace millrace::cuda {

template <class T, int kVectors, int kWarps, bool kAligned>
__device__ void add_layer_norm_row(const AddLayerNormArgs& args, long long row) {
  T* residual = static_cast<T*>(args.residual.data) + row * args.residual.stride;
  const T* delta = static_cast<const T*>(args.delta.data) + row * args.delta.stride;
  RegisterRow<T, kVectors, kWarps> x;
  x.template add<kAligned>(residual, args.width);
  x.template add<kAligned>(delta, args.width);
  x.template normalize<kAligned>(args.norm, args.width, residual);
}

template <class T, int kVectors, int kWarps = 1>
__global__ void __launch_bounds__(kNormThreads<kWarps>)
    smxx_add_layer_norm(const __grid_constant__ AddLayerNormArgs args) {
  const int row = norm_row<kWarps>();
  if (row >= args.rows) return;
  const bool aligned =
      is_norm_aligned<T>(args.norm, args.width) &&
      are_rows_aligned(static_cast<const T*>(args.residual.data), args.residual.stride) &&
      are_rows_aligned(static_cast<const T*>(args.delta.data), args.delta.stride);
  if (aligned)
    add_layer_norm_row<T, kVectors, kWarps, true>(args, row);
  else
    add_layer_norm_row<T, kVectors, kWarps, false>(args, row);
}

}  // namespace millrace::cuda
