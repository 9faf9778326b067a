// Whole blocks of keys and values, of all layers of a group: within the device, to the host and
// back. Pinned memory of the host is read and written as it lies.
//
// Launch: grid (copies, sides), block kCopyBlocksThreads, no dynamic shared bytes.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kCopyBlocksThreads = 256;

__global__ void __launch_bounds__(kCopyBlocksThreads)
    smxx_copy_blocks(const __grid_constant__ CopyBlocksArgs args) {
  const KvSide side = args.sides[blockIdx.y];
  const long long count = side.block_bytes / 16;
  const uint4* __restrict__ from =
      static_cast<const uint4*>(args.from_host ? side.host : side.device) +
      args.from[blockIdx.x] * count;
  uint4* __restrict__ to =
      static_cast<uint4*>(args.to_host ? side.host : side.device) + args.to[blockIdx.x] * count;
#pragma unroll 8
  for (long long i = threadIdx.x; i < count; i += kCopyBlocksThreads) to[i] = from[i];
}

}  // namespace millrace::cuda
