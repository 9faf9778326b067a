// Ops: the seam between models and devices. One per rank.
#pragma once

#include <functional>
#include <optional>

#include "ops/attention_ops.h"
#include "ops/cache_ops.h"
#include "ops/decoder_ops.h"
#include "ops/dense_ops.h"
#include "ops/pooling_ops.h"
#include "ops/sampling_ops.h"

namespace millrace {

// What a step is run for. None of these: for what it leaves in the cache.
struct StepRows {
  std::optional<Tensor> sequences;  // [num_sequences, width], to the host
  std::optional<Tensor> tokens;     // [num_tokens, width], to the host
  // [logits_rows, vocab] F32: what sample() takes. Stays on the device until the next run_step().
  std::optional<Tensor> logits;
};

struct Step {
  uint64_t number = 0;  // counted from 0
  StepRows rows;
};

// A new family of models adds a family of ops; a device implements all of them.
class Ops : public DenseOps,
            public AttentionOps,
            public PoolingOps,
            public DecoderOps,
            public CacheOps,
            public SamplingOps {
 public:
  static constexpr int kUniqueStep = -1;

  // Ops on the rows of `batch`, which is given to each of them.
  using Forward = std::function<StepRows(const Batch&)>;

  // Runs `forward`. A device may still be at work on it afterwards: the values of the rows, but for
  // logits, are on the host once wait_step() has returned, and stay there until
  // max_steps_in_flight() further steps begin. The batch that `forward` sees may be the given one
  // with rows added behind it, and where a step of the same sizes and the same `variant` was run
  // before, `forward` may not be called at all: what it launches must depend on nothing else. Steps
  // of the variant kUniqueStep are like no other; a step of decode alone, where each sequence has
  // one row and wants its logits, is one of a kind.
  virtual Step run_step(const Batch& batch, int variant, const Forward& forward);
  virtual void wait_step(uint64_t /*step*/) {}

  // So many steps may have begun before the first of them is waited for.
  virtual int max_steps_in_flight() const { return 1; }

  // Empties the arena: ops on `batch` may follow, which must stay as it is meanwhile. What
  // run_step() begins with.
  virtual void begin_step(const Batch& /*batch*/) { arena().reset(); }

 private:
  uint64_t num_steps_ = 0;
};

inline Step Ops::run_step(const Batch& batch, int /*variant*/, const Forward& forward) {
  begin_step(batch);
  Step step{.rows = forward(batch)};  // one that throws is not counted
  step.number = num_steps_++;
  return step;
}

}  // namespace millrace
