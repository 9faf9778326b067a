// DecodeRunner: a decoder on its device, ready to run steps: from a schedule to sampled tokens.
#pragma once

#include <memory>
#include <span>

#include "layers/model.h"
#include "runtime/decode_scheduler.h"

namespace millrace {

// The flat arrays of a step: rows of each item, block tables of each group, and the last row of
// each item that samples among logits_rows.
Batch make_batch(const DecodeStep& step, const BlockManager& blocks);

// Views that are valid until the next step.
struct SampledRows {
  std::span<const int32_t> tokens;      // [num_rows]; -1: no finite logit
  std::span<const float> logprobs;      // [num_rows], as all below where they were asked for
  std::span<const int32_t> ranks;       // [num_rows]
  std::span<const int32_t> top_tokens;  // [num_rows, num_top]
  std::span<const float> top_logprobs;  // [num_rows, num_top]
  size_t num_top = 0;
};

// Used by one thread at a time. The ops have been given the model's cache.
class DecodeRunner {
 public:
  DecodeRunner(std::unique_ptr<Ops> ops, std::unique_ptr<Model> model)
      : ops_(std::move(ops)), model_(std::move(model)) {}

  SampledRows run(std::span<const KvCopy> copies, const Batch& batch,
                  const SamplingBatch& sampling);

 private:
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Model> model_;
};

}  // namespace millrace
