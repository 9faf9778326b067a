// Which head and which tile of queries a block of an attention kernel works on.
#pragma once

#include "kernel_args.h"

namespace millrace::cuda {

// The grid is (tiles, heads). Blocks start in the order of their linear number; taking every head
// of a tile before the next tile, those that run together read whole rows of device memory, and the
// keys of one sequence while they are in the cache.
struct AttentionWork {
  int head;
  AttentionTile tile;

  __device__ explicit AttentionWork(const AttentionArgs& args) {
    const unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
    head = block % args.num_heads;
    tile = args.tiles[block / args.num_heads];
  }

  // Ends the whole block where its tile only fills up a grid. A branch would cost registers.
  __device__ void exit_if_empty() const {
    asm volatile(
        "{\n.reg .pred empty;\nsetp.eq.s32 empty, %0, %1;\n@empty exit;\n}\n" ::"r"(tile.row_begin),
        "r"(tile.row_end));
  }
};

}  // namespace millrace::cuda
