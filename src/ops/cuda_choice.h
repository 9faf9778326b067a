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

cuda::Function function_of(ActivationFunction f);

// Whether the product itself applies `f`. cuBLASLt knows GELU in its tanh form alone, which is at
// most 4.8e-4 off: less than the rounding of a bf16 value of 0.25, more than that of fp16 and F32.
bool is_fused_into_product(ActivationFunction f, DType out);

// The kernel behind a product of `rows` that does not apply `f` itself.
std::optional<cuda::KernelLaunch> activation_kernel(ActivationFunction f, DType out, int64_t rows);

// Rows of consecutive queries, at most `tile_rows`. Where `pack`, short sequences that follow each
// other share a tile; else a tile lies within one sequence. Those with most keys come first.
std::vector<cuda::AttentionTile> attention_tiles(const Batch& batch, int tile_rows, bool pack);

// --- steps of few tokens -------------------------------------------------------------------------

// A step of few tokens takes a GPU less time than the launches of its kernels take the host. Such
// steps are filled up to one of a few sizes, recorded once for each size, and replayed as a whole.
struct StepSize {
  int64_t num_tokens = 0;
  int64_t num_sequences = 0;
  int64_t num_logits_rows = 0;  // of decoders

  bool operator==(const StepSize&) const = default;
};

inline constexpr int64_t kMaxRecordedTokens = 2048;

// The least of those sizes that holds a step; less than an eighth, or eight tokens, larger. At most
// `most`, which holds the step too.
StepSize recorded_size(const StepSize& step, const StepSize& most);

// Sequences of decoders with so many rows in a step have few: single tokens, and tokens that are to
// be verified. Steps that have no others are recorded.
inline constexpr int64_t kFewRows = 8;
std::optional<StepSize> recorded_decoder_size(const Batch& batch, const StepSize& most);

// Never fewer than attention_tiles() gives for a batch of this size or less.
int64_t max_attention_tiles(const StepSize& size, int tile_rows, bool pack);

}  // namespace millrace
