// The rules that the kernels' files state.
#include "kernels/cuda/decoder_row_choice.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/integers.h"
#include "kernels/cuda/decoder_row_args.h"

namespace millrace::cuda {

namespace {

constexpr int64_t kMaxGridY = 65535;

// row_vectors.cuh.
KernelLaunch over_vectors(const KernelInstance& instance, DType type, int64_t rows, int64_t width) {
  constexpr int64_t kThreads = 256;
  const int64_t vectors = ceil_div(width, kVectorBytes / size_of(type));
  const int64_t threads = std::min(kThreads, ceil_div(vectors, 32) * 32);
  return {.instance = instance,
          .grid_x = rows > 0 ? ceil_div(vectors, threads) : 0,
          .grid_y = std::clamp<int64_t>(rows, 1, kMaxGridY),
          .threads = static_cast<int>(threads)};
}

}  // namespace

KernelLaunch rms_norm_kernel(DType type, int64_t rows, int64_t width) {
  CHECK(width >= 1 && width <= kMaxRmsWidth, "no kernel normalises rows of {}", width);
  const int warps = width <= 1024 ? 1 : width <= 8192 ? 8 : 16;
  const int64_t rows_per_block = warps == 1 ? 4 : 1;
  const int64_t elements = int64_t{32} * warps * (kVectorBytes / size_of(type));
  // Few instances serve all widths.
  const auto vectors =
      static_cast<int>(std::bit_ceil(static_cast<uint64_t>(ceil_div(width, elements))));
  return {.instance = {"smxx_rms_norm", {type, vectors, warps}},
          .grid_x = ceil_div(rows, rows_per_block),
          .threads = static_cast<int>(32 * warps * rows_per_block)};
}

KernelLaunch gather_rows_kernel(DType type, int64_t rows, int64_t width) {
  return over_vectors({"smxx_gather_rows", {type}}, type, rows, width);
}

KernelLaunch act_and_mul_kernel(DType type, Function function, int64_t rows, int64_t width) {
  return over_vectors({"smxx_act_and_mul", {type, static_cast<int>(function)}}, type, rows, width);
}

KernelLaunch scale_and_cap_kernel(int64_t rows, int64_t width) {
  return over_vectors({"smxx_scale_and_cap", {}}, DType::kF32, rows, width);
}

KernelLaunch rope_angles_kernel(int64_t rows, int64_t num_pairs) {
  CHECK(num_pairs >= 1 && num_pairs <= kMaxRopePairs, "no kernel rotates {} pairs", num_pairs);
  return {.instance = {"smxx_rope_angles", {}},
          .grid_x = rows,
          .threads = static_cast<int>(ceil_div(num_pairs, 32) * 32)};
}

std::vector<KernelInstance> decoder_row_kernels(DType type) {
  std::vector<KernelInstance> all;
  const auto add = [&](const KernelLaunch& launch) {
    if (std::ranges::find(all, launch.instance) == all.end()) all.push_back(launch.instance);
  };
  for (int64_t width = 1; width <= kMaxRmsWidth; ++width) add(rms_norm_kernel(type, 1, width));
  add(gather_rows_kernel(type, 1, 1));
  for (const Function function : {Function::kNone, Function::kGelu, Function::kGeluTanh,
                                  Function::kRelu, Function::kSilu, Function::kTanh})
    add(act_and_mul_kernel(type, function, 1, 1));
  add(scale_and_cap_kernel(1, 1));
  add(rope_angles_kernel(1, 1));
  return all;
}

}  // namespace millrace::cuda
