// Which kernels run the row-wise ops of decoders: see kernel_choice.h.
#pragma once

#include "kernels/cuda/kernel_choice.h"

namespace millrace::cuda {

// Rows wider than this have no kernel.
inline constexpr int64_t kMaxRmsWidth = 16384;

KernelLaunch rms_norm_kernel(DType type, int64_t rows, int64_t width);
KernelLaunch gather_rows_kernel(DType type, int64_t rows, int64_t width);
KernelLaunch act_and_mul_kernel(DType type, Function function, int64_t rows, int64_t width);
KernelLaunch scale_and_cap_kernel(int64_t rows, int64_t width);
KernelLaunch rope_angles_kernel(int64_t rows, int64_t num_pairs);

// Every instance that these may choose for rows of `type`, each once.
std::vector<KernelInstance> decoder_row_kernels(DType type);

}  // namespace millrace::cuda
