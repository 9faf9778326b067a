// Which kernel runs an op, and over which grid: pure functions of sizes and types.
//
// The plan asks them to learn what must be compiled, the ops to learn what to launch. The instance
// depends on the model and the architecture alone; only the grid depends on the step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/arch.h"
#include "kernels/cuda/kernel_instance.h"

namespace millrace::cuda {

inline constexpr int64_t kVectorBytes = 16;  // that a lane moves at once

struct KernelLaunch {
  KernelInstance instance;
  int64_t grid_x = 1;
  int64_t grid_y = 1;
  int threads = 32;
  int shared_bytes = 0;  // dynamic, per block
};

std::string to_string(const KernelLaunch& launch);  // "smxx_pool<bf16> grid 32x1, 128 threads"

// An element-wise function behind a product.
enum class Function : uint8_t { kNone, kGelu, kGeluTanh, kRelu, kSilu, kTanh };

// Rows wider than this have no kernel.
inline constexpr int64_t kMaxNormWidth = 8192;

KernelLaunch embed_kernel(DType type, int64_t rows, int64_t width);
KernelLaunch add_layer_norm_kernel(DType type, int64_t rows, int64_t width);
KernelLaunch activate_kernel(DType type, Function function, int64_t rows);
KernelLaunch convert_kernel(DType from, DType to, int64_t rows, int64_t width);
KernelLaunch pool_kernel(DType type, int64_t num_sequences, int64_t width);
KernelLaunch normalize_kernel(int64_t rows);

// Heads larger than this have no kernel.
inline constexpr int64_t kMaxHeadDim = 128;

struct AttentionKernel {
  KernelInstance instance;
  int tile_rows = 0;   // most query rows of a tile
  bool packs = false;  // a tile may hold several short sequences
  int threads = 0;
  int shared_bytes = 0;

  KernelLaunch over(int64_t num_tiles, int64_t num_heads) const;
};

// `row_stride`: elements between rows of queries, keys and values, whose first row begins on 16
// bytes.
AttentionKernel attention_kernel(DType type, int64_t head_dim, int64_t row_stride, Arch arch);

// Every instance that the functions above may choose for rows of `type`.
std::vector<KernelInstance> all_kernels(DType type, Arch arch);

}  // namespace millrace::cuda
