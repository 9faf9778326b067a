// Model: a network that turns a packed batch into outputs, on whatever device its ops are.
#pragma once

#include <optional>

#include "ops/ops.h"

namespace millrace {

// Views into the arena of the ops; valid until the next step.
struct Output {
  Tensor hidden;                  // [num_tokens, hidden], the last layer's rows
  std::optional<Tensor> vectors;  // [num_sequences, hidden] F32, of an embedder
  std::optional<Tensor> logits;   // [num_sequences, num_labels] F32, of a classifier
};

class Model {
 public:
  virtual ~Model() = default;

  // Rows of one sequence never influence another's. The ops must be those of construction.
  virtual Output forward(Ops& ops, const Batch& batch) const = 0;
};

}  // namespace millrace
