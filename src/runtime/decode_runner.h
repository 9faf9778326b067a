// DecodeRunner: a decoder on its device, ready to run steps: from a schedule to sampled tokens.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "layers/model.h"
#include "runtime/decode_scheduler.h"
#include "runtime/failure_injection.h"

namespace millrace {

// The flat arrays of a step: rows of each item, block tables of each group, and the rows whose
// logits are wanted. A token that is not known yet is named by the row that draws it
// (DecodeSequence::sampled_row).
Batch make_batch(const DecodeStep& step, const BlockManager& blocks);

// Views that are valid until the second next sample().
struct SampledRows {
  std::span<const int32_t> tokens;      // [num_rows]; -1: no finite logit
  std::span<const float> logprobs;      // [num_rows], as all below where they were asked for
  std::span<const int32_t> ranks;       // [num_rows]
  std::span<const int32_t> top_tokens;  // [num_rows, num_top]
  std::span<const float> top_logprobs;  // [num_rows, num_top]
  size_t num_top = 0;
};

// A step is launch(), sample(), collect(). The next one may be launched before this one is
// collected, and is sampled after that: a device works on it while the host reads what this one
// drew. Used by one thread at a time. The ops have been given the model's cache.
class DecodeRunner {
 public:
  DecodeRunner(std::unique_ptr<Ops> ops, std::unique_ptr<Model> model,
               FailureInjection failures = {})
      : ops_(std::move(ops)), model_(std::move(model)), failures_(std::move(failures)) {}

  // How many steps may be launched before the first of them is collected.
  int max_in_flight() const { return ops_->max_steps_in_flight(); }

  // Makes the copies, which are gone from the list then, and runs the model over `batch`. A step
  // that throws is not in flight.
  void launch(std::vector<KvCopy>& copies, const Batch& batch);

  // Draws the tokens of the step that was launched last; no rows: it draws none.
  void sample(const SamplingBatch& sampling);

  // What the oldest step in flight drew; waits for it.
  SampledRows collect();

  // Waits for the steps in flight and forgets them.
  void abandon();

 private:
  struct Launched {
    Step step;
    std::optional<SampledTokens> sampled;
  };

  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Model> model_;
  FailureInjection failures_;
  std::deque<Launched> in_flight_;
};

}  // namespace millrace
