// The rules that the kernels' files state: instances, blocks and grids.
#include "kernels/cuda/kernel_choice.h"

#include <algorithm>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cuda/decoder_row_choice.h"
#include "kernels/cuda/paged_attention_choice.h"
#include "kernels/cuda/sampling_choice.h"

namespace millrace::cuda {

namespace {

// A row in the registers of one warp, of 8 or of 32: row_norm.cuh.
struct NormShape {
  int warps = 1;    // that hold a row
  int vectors = 1;  // that a lane holds
  int rows_per_block = 4;

  NormShape(DType type, int64_t width) {
    CHECK(width >= 1 && width <= kMaxNormWidth, "no kernel normalises rows of {}", width);
    warps = width <= 1024 ? 1 : 8;
    rows_per_block = warps == 1 ? 4 : 1;
    const int64_t elements = int64_t{32} * warps * (kVectorBytes / size_of(type));
    vectors = static_cast<int>(ceil_div(width, elements));
  }

  KernelLaunch launch(std::string_view function, DType type, int64_t rows) const {
    return {.instance = {function, {type, vectors, warps}},
            .grid_x = ceil_div(rows, rows_per_block),
            .threads = 32 * warps * rows_per_block};
  }
};

}  // namespace

std::string to_string(const KernelLaunch& launch) {
  return fmt::format("{} grid {}x{}, {} threads, {} shared bytes", launch.instance.name(),
                     launch.grid_x, launch.grid_y, launch.threads, launch.shared_bytes);
}

KernelLaunch embed_kernel(DType type, int64_t rows, int64_t width) {
  return NormShape(type, width).launch("smxx_embed", type, rows);
}

KernelLaunch add_layer_norm_kernel(DType type, int64_t rows, int64_t width) {
  return NormShape(type, width).launch("smxx_add_layer_norm", type, rows);
}

KernelLaunch activate_kernel(DType type, Function function, int64_t rows) {
  return {.instance = {"smxx_activate", {type, static_cast<int>(function)}},
          .grid_x = std::min<int64_t>(rows, 65535),
          .threads = 128};
}

KernelLaunch convert_kernel(DType from, DType to, int64_t rows, int64_t width) {
  constexpr int kThreads = 256;
  constexpr int64_t kMostBlocks = 2048;  // they stride over the rest
  const int64_t values = rows * width;
  return {.instance = {"smxx_convert_rows", {from, to}},
          .grid_x = std::clamp<int64_t>(ceil_div(values, 8 * kThreads), 1, kMostBlocks),
          .threads = kThreads};
}

KernelLaunch pool_kernel(DType type, int64_t num_sequences, int64_t width) {
  const int64_t columns = 32 * (kVectorBytes / size_of(type));
  return {.instance = {"smxx_pool", {type}},
          .grid_x = num_sequences,
          .grid_y = ceil_div(width, columns),
          .threads = 256};
}

KernelLaunch normalize_kernel(int64_t rows) {
  return {.instance = {"smxx_normalize_rows", {}}, .grid_x = rows, .threads = 128};
}

AttentionKernel attention_kernel(DType type, int64_t head_dim, int64_t row_stride, Arch arch) {
  CHECK(head_dim >= 1 && head_dim <= kMaxHeadDim, "no kernel for heads of {}", head_dim);
  const int padded = static_cast<int>(std::max<int64_t>(32, ceil_div(head_dim, 32) * 32));
  if (type == DType::kF32) {
    return {.instance = {"smxx_attention_fp32", {padded}},
            .tile_rows = 64,
            .threads = 256,
            .shared_bytes = 512 * padded + 11264};
  }
  // In a tile of several sequences an infinity of one would reach the others: bf16 has none.
  const bool packs = type == DType::kBF16;
  const bool is_hopper = arch == Arch{90, true};
  if (is_hopper && head_dim == padded && row_stride * size_of(type) % kVectorBytes == 0) {
    return {.instance = {"sm90_attention", {type, padded}},
            .tile_rows = 64,
            .packs = packs,
            .threads = 128,
            .shared_bytes = 640 * padded};
  }
  return {.instance = {"smxx_attention", {type, padded}},
          .tile_rows = 64,
          .packs = packs,
          .threads = 128,
          .shared_bytes = 512 * padded};
}

std::vector<KernelInstance> all_kernels(DType type, Arch arch) {
  std::vector<KernelInstance> all;
  const auto add = [&](const KernelInstance& instance) {
    if (std::ranges::find(all, instance) == all.end()) all.push_back(instance);
  };
  for (int64_t width = 1; width <= kMaxNormWidth; ++width) {
    add(embed_kernel(type, 1, width).instance);
    add(add_layer_norm_kernel(type, 1, width).instance);
  }
  for (int64_t head_dim = 1; head_dim <= kMaxHeadDim; ++head_dim)
    for (const int64_t row_stride : {3 * head_dim, 3 * head_dim * 16})
      add(attention_kernel(type, head_dim, row_stride, arch).instance);
  for (const Function function :
       {Function::kGelu, Function::kGeluTanh, Function::kRelu, Function::kSilu, Function::kTanh}) {
    add(activate_kernel(type, function, 1).instance);
    add(activate_kernel(DType::kF32, function, 1).instance);
  }
  for (const DType other : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (other == type) continue;
    add(convert_kernel(other, type, 1, 1).instance);
    add(convert_kernel(type, other, 1, 1).instance);
    add(convert_kernel(other, DType::kF32, 1, 1).instance);  // biases of results in F32
  }
  add(pool_kernel(type, 1, 1).instance);
  add(normalize_kernel(1).instance);
  for (const KernelInstance& instance : decoder_row_kernels(type)) add(instance);
  for (const KernelInstance& instance : all_paged_kernels(type, arch)) add(instance);
  add(sample_kernel(1, 1).instance);
  add(greedy_kernel(1, 1).instance);
  return all;
}

KernelLaunch AttentionKernel::over(int64_t num_tiles, int64_t num_heads) const {
  return {.instance = instance,
          .grid_x = num_tiles,
          .grid_y = num_heads,
          .threads = threads,
          .shared_bytes = shared_bytes};
}

}  // namespace millrace::cuda
