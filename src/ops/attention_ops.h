// AttentionOps: attention over packed sequences of different lengths.
#pragma once

#include "ops/batch.h"
#include "ops/linear.h"
#include "ops/ops_context.h"

namespace millrace {

struct AttentionShape {
  int64_t num_heads = 0;
  int64_t head_dim = 0;
  float scale = 1.0f;  // of the scores, usually 1 / sqrt(head_dim)
};

class AttentionOps : public virtual OpsContext {
 public:
  // softmax(q k^T * scale) v within each sequence, every token seeing every other.
  // `qkv` is [num_tokens, 3 * num_heads * head_dim]: queries, keys, values, each head by head.
  Activation attention(const Activation& qkv, const Batch& batch, const AttentionShape& shape,
                       const ActivationFormat& consumer);

 private:
  virtual void run_attention(const Tensor& qkv, const Batch& batch, const AttentionShape& shape,
                             const Tensor& out) = 0;
};

}  // namespace millrace
