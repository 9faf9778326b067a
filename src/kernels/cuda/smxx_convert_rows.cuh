// Rows of one number type into rows of another, or of the same: also the loader's way for weights.
//
// Launch: grid any number of blocks >= 1, block kConvertThreads, no dynamic shared bytes. Blocks
// stride over what there is: enough of them are min(kConvertBlocksPerSm * multiprocessors,
// ceil(rows * width / (8 * kConvertThreads))). Rows without gaps on either side are one long row,
// whose length may exceed 32 bits.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kConvertThreads = 256;
inline constexpr int kConvertBlocksPerSm = 8;

// Elements that a thread moves at a time: 16 bytes of the narrower type.
template <class In, class Out>
inline constexpr int kConvertGroup = sizeof(In) < sizeof(Out) ? kVector<In> : kVector<Out>;

template <class In, class Out>
__device__ inline void convert_group(const In* in, Out* out) {
  constexpr int kGroup = kConvertGroup<In, Out>;
  float x[kGroup];
#pragma unroll
  for (int i = 0; i < kGroup; i += kVector<In>) {
    float part[kVector<In>];
    load_vector(in + i, part);
#pragma unroll
    for (int e = 0; e < kVector<In>; ++e) x[i + e] = part[e];
  }
#pragma unroll
  for (int i = 0; i < kGroup; i += kVector<Out>) {
    float part[kVector<Out>];
#pragma unroll
    for (int e = 0; e < kVector<Out>; ++e) part[e] = x[i + e];
    store_vector(out + i, part);
  }
}

// Elements first, first + step, ... of a row, in groups where that is possible.
template <class In, class Out>
__device__ inline void convert_row(const In* in, Out* out, long long width, long long first,
                                   long long step) {
  constexpr int kGroup = kConvertGroup<In, Out>;
  long long groups = is_aligned(in) && is_aligned(out) ? width / kGroup : 0;
#pragma unroll 2
  for (long long i = first; i < groups; i += step) convert_group(in + i * kGroup, out + i * kGroup);
#pragma unroll 1
  for (long long c = groups * kGroup + first; c < width; c += step)
    out[c] = from_float<Out>(to_float(in[c]));
}

template <class In, class Out>
__global__ void __launch_bounds__(kConvertThreads)
    smxx_convert_rows(const __grid_constant__ ConvertArgs args) {
  const In* in = static_cast<const In*>(args.x.data);
  Out* out = static_cast<Out*>(args.out.data);
  if (args.rows == 1 || (args.x.stride == args.width && args.out.stride == args.width)) {
    const long long first = static_cast<long long>(blockIdx.x) * kConvertThreads + threadIdx.x;
    convert_row(in, out, args.rows * args.width, first,
                static_cast<long long>(gridDim.x) * kConvertThreads);
    return;
  }
  for (long long r = blockIdx.x; r < args.rows; r += gridDim.x)
    convert_row(in + r * args.x.stride, out + r * args.out.stride, args.width, threadIdx.x,
                kConvertThreads);
}

}  // namespace millrace::cuda
