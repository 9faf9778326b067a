// How a step's rows are cut into tiles of paged attention: asked by the trace for the memory that
// partial sums take, and by the CUDA library for each step.
#pragma once

#include <vector>

#include "kernels/cuda/kernel_args.h"
#include "kernels/cuda/paged_attention_choice.h"
#include "ops/batch.h"
#include "ops/cache_ops.h"
#include "ops/cuda_choice.h"
#include "tensor/arena.h"

namespace millrace {

// Layers whose attention can share a list of tiles have equal ones.
struct PagedTileList {
  enum class Rows : uint8_t { kAll, kFew, kMany };  // of which sequences: kFewRows

  Rows rows = Rows::kAll;
  size_t cache_group = 0;
  int64_t window = 0;     // of that group
  int64_t group = 1;      // query heads of a kv head
  int64_t tile_rows = 0;  // packed
  int64_t key_step = 0;
  int64_t split_tiles = 0;  // what few long tiles are split into, about; 0: none is split

  bool operator==(const PagedTileList&) const = default;
};

// One launch: a kernel and the tiles that it works on.
struct PagedLaunch {
  cuda::PagedAttentionKernel kernel;
  PagedTileList list;
};

// What the choice of a layer's kernels and lists depends on.
struct PagedLayer {
  DType type = DType::kF32;
  HeadLayout heads;
  size_t cache_group = 0;
  int64_t window = 0;
  bool soft_cap = false;
};

// What the attention of a layer launches, in any step: one kernel for few rows and one for many, or
// one for all. `deterministic`: rows of any step are summed by one kernel, in one order.
std::vector<PagedLaunch> paged_launches(const PagedLayer& layer, cuda::Arch arch,
                                        bool deterministic);

// The tiles of the batch that belong to the list; PagedTile::table counts from the first number of
// the group's block table. Where one that takes many keys would keep others waiting, its keys are
// split: all parts of a step have about as many.
std::vector<cuda::PagedTile> paged_tiles(const Batch& batch, const PagedTileList& list);

// Never fewer than paged_tiles() gives for a batch of this size or less.
int64_t max_paged_tiles(const StepSize& size, const PagedTileList& list);

// Slots for the sums of parts that any step needs.
inline int64_t max_paged_slots(const PagedTileList& list) {
  return 2 * list.split_tiles;
}

// What PagedAttentionArgs calls partials and partial_stats; without values where nothing is split.
struct PagedWorkspace {
  Tensor sums;
  Tensor stats;
};
PagedWorkspace allocate_paged_workspace(Arena& arena, const PagedLaunch& launch,
                                        int64_t num_kv_heads);

}  // namespace millrace
