// ModelRunner: a model on its device, ready to run steps.
#pragma once

#include <memory>

#include "layers/model.h"
#include "ops/batch.h"

namespace millrace {

// Rows of a step, in the order of its sequences; views that are valid until the next step.
struct StepOutput {
  std::span<const float> rows;  // [num_sequences, width]
  int64_t width = 0;
  std::span<const float> token_rows;  // [num_tokens, token_width]
  int64_t token_width = 0;
};

// Used by one thread at a time.
class ModelRunner {
 public:
  ModelRunner(std::unique_ptr<Ops> ops, std::unique_ptr<Model> model)
      : ops_(std::move(ops)), model_(std::move(model)) {}

  StepOutput run(const Batch& batch);

 private:
  std::unique_ptr<Ops> ops_;
  std::unique_ptr<Model> model_;
};

}  // namespace millrace
