// Frequencies of rotary positions from a model's config.
#pragma once

#include "config/decoder_config.h"
#include "ops/cache_ops.h"

namespace millrace {

// `max_positions`: the longest sequence that is admitted. Where a model has factors for short and
// for long texts (LongRope), it decides for all sequences: a row's bits do not depend on how far
// its sequence will grow. Formulas: transformers' modeling_rope_utils.
Rope make_rope(const RopeConfig& config, int64_t max_positions);

}  // namespace millrace
