// Which kernels write and read paged keys and values, and over which grid: see kernel_choice.h.
#pragma once

#include "kernels/cuda/kernel_choice.h"

namespace millrace::cuda {

// Heads larger than this have no kernel over paged keys.
inline constexpr int64_t kMaxPagedHeadDim = 256;

// One shape of block for tiles of packed rows (PagedTile).
struct PagedAttentionKernel {
  KernelInstance instance;
  int tile_rows = 0;         // most packed rows of a tile
  int key_step = 0;          // tiles begin at multiples of so many keys
  int head_dim = 0;          // of the kernel: the width of partial sums
  int64_t split_blocks = 0;  // what few long tiles are split into; 0: tiles take all keys
  int threads = 0;
  int shared_bytes = 0;

  KernelLaunch over(int64_t num_tiles, int64_t num_kv_heads) const;
};

// For sequences with few rows in a step and for those with many; the same kernel in F32.
struct PagedAttentionKernels {
  PagedAttentionKernel few;
  PagedAttentionKernel many;
};
PagedAttentionKernels paged_attention_kernels(DType type, int64_t head_dim, bool soft_cap,
                                              Arch arch);

// The most that PagedAttentionKernel::split_blocks can be.
int64_t most_split_blocks(Arch arch);

KernelLaunch rope_write_kernel(DType type, int64_t num_tokens, int64_t num_heads,
                               int64_t num_kv_heads);
KernelLaunch copy_blocks_kernel(int64_t num_copies, int64_t num_sides);

// Every instance that the functions above may choose for rows of `type`.
std::vector<KernelInstance> all_paged_kernels(DType type, Arch arch);

}  // namespace millrace::cuda
