// Which kernels sample tokens: see kernel_choice.h.
#pragma once

#include "kernels/cuda/kernel_choice.h"

namespace millrace::cuda {

// Rows of more logits have no kernel.
inline constexpr int64_t kMaxSampledVocab = 270336;

KernelLaunch sample_kernel(int64_t rows, int64_t vocab);
// SampleArgs::list_capacity.
int64_t sample_list_capacity(int64_t vocab);

// Of rows that are greedy and ask for nothing else. Blocks in x: the parts of a row.
KernelLaunch greedy_kernel(int64_t rows, int64_t vocab);

}  // namespace millrace::cuda
