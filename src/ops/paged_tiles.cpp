// Cutting rows into tiles, and keys into parts.
#include "ops/paged_tiles.h"

#include <algorithm>

#include "base/error.h"
#include "base/integers.h"

namespace millrace {

namespace {

// A part of fewer steps would be over before the next one begins.
constexpr int64_t kMinSplitSteps = 2;

bool belongs(int64_t rows, PagedTileList::Rows wanted) {
  switch (wanted) {
    case PagedTileList::Rows::kAll: return rows > 0;
    case PagedTileList::Rows::kFew: return rows > 0 && rows <= kFewRows;
    case PagedTileList::Rows::kMany: return rows > kFewRows;
  }
  return false;
}

int64_t steps_of(const cuda::PagedTile& tile, int64_t key_step) {
  return ceil_div(tile.key_end - tile.key_begin, key_step);
}

// Tiles that take all keys of their rows.
std::vector<cuda::PagedTile> whole_tiles(const Batch& batch, const PagedTileList& list) {
  std::vector<cuda::PagedTile> tiles;
  const int64_t table_width = batch.kv[list.cache_group].table_width;
  for (size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
    const int64_t rows = batch.cu_seqlens[s + 1] - batch.cu_seqlens[s];
    if (!belongs(rows, list.rows)) continue;
    const int64_t position = batch.kv_lengths[s] - rows;
    for (int64_t row = 0; row < rows * list.group; row += list.tile_rows) {
      const int64_t end = std::min(row + list.tile_rows, rows * list.group);
      const int64_t first_key =
          list.window > 0 ? std::max<int64_t>(0, position + row / list.group - list.window + 1) : 0;
      tiles.push_back({.row_begin = static_cast<int>(row),
                       .row_end = static_cast<int>(end),
                       .token = batch.cu_seqlens[s],
                       .position = static_cast<int>(position),
                       .key_begin = static_cast<int>(first_key / list.key_step * list.key_step),
                       .key_end = static_cast<int>(position + (end - 1) / list.group + 1),
                       .table = static_cast<int>(static_cast<int64_t>(s) * table_width)});
    }
  }
  return tiles;
}

std::vector<cuda::PagedTile> split(const std::vector<cuda::PagedTile>& whole,
                                   const PagedTileList& list) {
  int64_t steps = 0;
  for (const cuda::PagedTile& tile : whole) steps += steps_of(tile, list.key_step);
  const int64_t most = std::max(kMinSplitSteps, ceil_div(steps, list.split_tiles));
  std::vector<cuda::PagedTile> tiles;
  int partial = 0;
  for (const cuda::PagedTile& tile : whole) {
    const int64_t count = steps_of(tile, list.key_step);
    const int64_t part = ceil_div(count, ceil_div(count, most));
    const int64_t splits = ceil_div(count, part);
    for (int64_t i = 0; i < splits; ++i) {
      const int64_t begin = tile.key_begin + i * part * list.key_step;
      cuda::PagedTile& added = tiles.emplace_back(tile);
      added.key_begin = static_cast<int>(begin);
      added.key_end =
          static_cast<int>(std::min<int64_t>(tile.key_end, begin + part * list.key_step));
      added.split = static_cast<int>(i);
      added.num_splits = static_cast<int>(splits);
      added.partial = partial;
    }
    if (splits > 1) partial += static_cast<int>(splits);
  }
  CHECK(partial <= max_paged_slots(list), "{} parts of at most {}", partial, max_paged_slots(list));
  return tiles;
}

}  // namespace

std::vector<PagedLaunch> paged_launches(const PagedLayer& layer, cuda::Arch arch,
                                        bool deterministic) {
  const HeadLayout& heads = layer.heads;
  const cuda::PagedAttentionKernels kernels =
      cuda::paged_attention_kernels(layer.type, heads.head_dim, layer.soft_cap, arch);
  const auto launch = [&](const cuda::PagedAttentionKernel& kernel, PagedTileList::Rows rows) {
    const int64_t blocks = deterministic ? 0 : kernel.split_blocks;
    return PagedLaunch{.kernel = kernel,
                       .list = {.rows = rows,
                                .cache_group = layer.cache_group,
                                .window = layer.window,
                                .group = heads.num_heads / heads.num_kv_heads,
                                .tile_rows = kernel.tile_rows,
                                .key_step = kernel.key_step,
                                .split_tiles = ceil_div(blocks, heads.num_kv_heads)}};
  };
  if (deterministic || kernels.few.instance == kernels.many.instance)
    return {launch(kernels.many, PagedTileList::Rows::kAll)};
  return {launch(kernels.many, PagedTileList::Rows::kMany),
          launch(kernels.few, PagedTileList::Rows::kFew)};
}

std::vector<cuda::PagedTile> paged_tiles(const Batch& batch, const PagedTileList& list) {
  std::vector<cuda::PagedTile> tiles = whole_tiles(batch, list);
  if (list.split_tiles > 0) tiles = split(tiles, list);
  // Those with most keys begin first, so that no block is left alone at the end.
  std::ranges::stable_sort(tiles, std::greater<>(), [&](const cuda::PagedTile& tile) {
    return steps_of(tile, list.key_step);
  });
  return tiles;
}

int64_t max_paged_tiles(const StepSize& size, const PagedTileList& list) {
  const int64_t packed = size.num_tokens * list.group;
  // A sequence has at most one tile that is not full; a token has as many as its heads fill.
  const int64_t whole =
      std::min(packed / list.tile_rows + std::min(size.num_sequences, size.num_tokens),
               size.num_tokens * ceil_div(list.group, list.tile_rows));
  return whole + list.split_tiles;
}

PagedWorkspace allocate_paged_workspace(Arena& arena, const PagedLaunch& launch,
                                        int64_t num_kv_heads) {
  const int64_t rows =
      max_paged_slots(launch.list) * num_kv_heads * int64_t{launch.kernel.tile_rows};
  if (rows == 0) return {};
  return {.sums = arena.allocate(DType::kF32, {rows, launch.kernel.head_dim}),
          .stats = arena.allocate(DType::kF32, {rows, 2})};
}

}  // namespace millrace
