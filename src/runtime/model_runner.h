// ModelRunner: a model on its device, ready to run steps.
#pragma once

#include <deque>
#include <memory>

#include "layers/model.h"
#include "ops/batch.h"

namespace millrace {

// Rows of a step, in the order of its sequences; views that are valid until as many further steps
// were launched as may be in flight.
struct StepOutput {
  std::span<const float> rows;  // [num_sequences, width]
  int64_t width = 0;
  std::span<const float> token_rows;  // [num_tokens, token_width]; empty unless asked for
  int64_t token_width = 0;
};

// Used by one thread at a time.
class ModelRunner {
 public:
  ModelRunner(std::unique_ptr<Ops> ops, std::unique_ptr<Model> model)
      : ops_(std::move(ops)), model_(std::move(model)) {}

  // How many steps may be launched before the first of them is collected.
  int max_in_flight() const { return ops_->max_steps_in_flight(); }

  // Begins a step; a device works on it while the next one is prepared. `batch` must stay as it is
  // until the call returns. A step that throws is not in flight.
  void launch(const Batch& batch, bool with_token_rows);

  // The output of the oldest step in flight; waits for it.
  StepOutput collect();

  // Both in one.
  StepOutput run(const Batch& batch, bool with_token_rows);

 private:
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Model> model_;
  std::deque<Step> in_flight_;
};

}  // namespace millrace
