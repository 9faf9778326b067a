// What ops launch on a GPU where that takes more than sizes: asked by the trace to learn what must
// be compiled, and by the CUDA library to launch it.
#pragma once

#include <optional>
#include <vector>

#include "config/model_config.h"
#include "kernels/cuda/kernel_args.h"
#include "kernels/cuda/kernel_choice.h"
#include "ops/batch.h"

namespace millrace {

// Whether the product itself applies `f`. cuBLASLt knows GELU in its tanh form alone, which is at
// most 4.8e-4 off: less than the rounding of a bf16 value of 0.25, more than that of fp16 and F32.
bool is_fused_into_product(ActivationFunction f, DType out);

// The kernel behind a product of `rows` that does not apply `f` itself.
std::optional<cuda::KernelLaunch> activation_kernel(ActivationFunction f, DType out, int64_t rows);

// Rows of consecutive queries, at most `tile_rows`. Where `pack`, short sequences that follow each
// other share a tile; else a tile lies within one sequence. Those with most keys come first.
std::vector<cuda::AttentionTile> attention_tiles(const Batch& batch, int tile_rows, bool pack);

}  // namespace millrace
