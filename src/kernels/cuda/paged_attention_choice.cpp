// The rules that the kernels' files state.
#include "kernels/cuda/paged_attention_choice.h"

#include <algorithm>

#include "base/error.h"

namespace millrace::cuda {

namespace {

// Heads are padded to one of few sizes, so that there are few instances.
int padded_head(int64_t head_dim) {
  CHECK(head_dim >= 1 && head_dim <= kMaxPagedHeadDim, "no kernel for heads of {}", head_dim);
  for (const int size : {32, 64, 96, 128})
    if (head_dim <= size) return size;
  return 256;
}

// Of the largest GPU of the kind.
int64_t multiprocessors(Arch arch) {
  if (arch.version >= 100 && arch.version < 120) return 148;
  return arch.version >= 90 ? 132 : 108;
}

// PagedAttentionShape of smxx_paged_attention.cuh.
PagedAttentionKernel tensor_core_kernel(DType type, int head_dim, int row_warps, Arch arch) {
  const int key_step = head_dim <= 128 ? 64 : 32;
  const int key_warps = row_warps > 1 ? 1 : key_step / 16;
  const int tile_rows = 16 * row_warps;
  const int slots = row_warps > 1 ? 4 : 5;
  return {
      .instance = {"smxx_paged_attention", {type, head_dim, row_warps}},
      .tile_rows = tile_rows,
      .key_step = key_step,
      .head_dim = head_dim,
      // Two blocks of a multiprocessor hide each other's latency where there is little to compute.
      .split_blocks = row_warps > 1 ? multiprocessors(arch) : 2 * multiprocessors(arch),
      .threads = 32 * row_warps * key_warps,
      .shared_bytes = 2 * head_dim * (slots * key_step + tile_rows)};
}

PagedAttentionKernel fp32_kernel(int head_dim) {
  constexpr int kRows = 32;
  constexpr int kKeys = 32;
  constexpr int kPad = 4;
  return {.instance = {"smxx_paged_attention_fp32", {head_dim}},
          .tile_rows = kRows,
          .key_step = kKeys,
          .head_dim = head_dim,
          .threads = 256,
          .shared_bytes = 4 * ((kRows + kKeys) * (head_dim + kPad) + kRows * (kKeys + kPad))};
}

}  // namespace

PagedAttentionKernels paged_attention_kernels(DType type, int64_t head_dim, bool soft_cap,
                                              Arch arch) {
  const int padded = padded_head(head_dim);
  if (type == DType::kF32) return {.few = fp32_kernel(padded), .many = fp32_kernel(padded)};
  PagedAttentionKernels kernels = {.few = tensor_core_kernel(type, padded, 1, arch),
                                   .many = tensor_core_kernel(type, padded, 4, arch)};
  const bool fits_wgmma = head_dim == padded && padded <= 128 && !soft_cap;
  if (arch == Arch{90, true} && fits_wgmma) {
    kernels.many.instance = {"sm90_paged_attention", {type, padded}};
    kernels.many.shared_bytes = 5 * 2 * padded * kernels.many.key_step;
  }
  return kernels;
}

KernelLaunch PagedAttentionKernel::over(int64_t num_tiles, int64_t num_kv_heads) const {
  return {.instance = instance,
          .grid_x = num_tiles,
          .grid_y = num_kv_heads,
          .threads = threads,
          .shared_bytes = shared_bytes};
}

int64_t most_split_blocks(Arch arch) {
  return 2 * multiprocessors(arch);
}

KernelLaunch rope_write_kernel(DType type, int64_t num_tokens, int64_t num_heads,
                               int64_t num_kv_heads) {
  constexpr int kWarps = 4;
  return {.instance = {"smxx_rope_write", {type}},
          .grid_x = num_tokens,
          .grid_y = (num_heads + 2 * num_kv_heads + kWarps - 1) / kWarps,
          .threads = 32 * kWarps};
}

KernelLaunch copy_blocks_kernel(int64_t num_copies, int64_t num_sides) {
  return {.instance = {"smxx_copy_blocks", {}},
          .grid_x = num_copies,
          .grid_y = num_sides,
          .threads = 256};
}

std::vector<KernelInstance> all_paged_kernels(DType type, Arch arch) {
  std::vector<KernelInstance> all = {rope_write_kernel(type, 1, 1, 1).instance,
                                     copy_blocks_kernel(1, 1).instance};
  for (const int head_dim : {32, 64, 96, 128, 256}) {
    for (const bool soft_cap : {false, true}) {
      const PagedAttentionKernels kernels = paged_attention_kernels(type, head_dim, soft_cap, arch);
      for (const PagedAttentionKernel& kernel : {kernels.few, kernels.many})
        if (std::ranges::find(all, kernel.instance) == all.end()) all.push_back(kernel.instance);
    }
  }
  return all;
}

}  // namespace millrace::cuda
