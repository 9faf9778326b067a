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

  // Of a tile that fills up a grid.
  __device__ bool is_empty() const { return tile.row_begin == tile.row_end; }
};

}  // namespace millrace::cuda
