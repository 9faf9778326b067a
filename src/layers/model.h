// Model: a network that turns a packed batch into outputs, on whatever device its ops are.
#pragma once

#include <optional>

#include "ops/ops.h"

namespace millrace {

// Views into the arena of the ops; valid until the next step.
struct Output {
  Tensor hidden;  // [num_tokens, hidden], the last layer's rows; of a decoder normalised
  std::optional<Tensor> vectors;  // [num_sequences, hidden] F32, of an embedder
  // F32: [num_sequences, num_labels] of a classifier, [logits_rows, vocab] of a decoder; none where
  // a batch wants none.
  std::optional<Tensor> logits;
};

class Model {
 public:
  virtual ~Model() = default;

  // Rows of one sequence never influence another's. The ops must be those of construction.
  virtual Output forward(Ops& ops, const Batch& batch) const = 0;

  // What the ops must have been given by allocate_kv_cache() before a step. Empty: nothing.
  virtual const KvCacheSpec& kv_cache_spec() const;
};

inline const KvCacheSpec& Model::kv_cache_spec() const {
  static const KvCacheSpec nothing;
  return nothing;
}

}  // namespace millrace
