// Shape checks and outputs of attention.
#include "ops/attention_ops.h"

#include "tensor/shape_matcher.h"

namespace millrace {

Activation AttentionOps::attention(const Activation& qkv, const Batch& batch,
                                   const AttentionShape& shape, const ActivationFormat& consumer) {
  const int64_t width = shape.num_heads * shape.head_dim;
  ShapeMatcher match("attention", device());
  match.match("qkv", qkv.values, {batch.num_tokens(), 3 * width});
  CHECK(qkv.values.dtype == precision().hidden, "attention: qkv is {}", to_string(qkv.values));
  const Activation out = {.values = arena().allocate(consumer.dtype, {batch.num_tokens(), width}),
                          .format = consumer};
  run_attention(qkv.values, batch, shape, out.values);
  return out;
}

}  // namespace millrace
