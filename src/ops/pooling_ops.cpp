// Shape checks and outputs of pooling.
#include "ops/pooling_ops.h"

#include "tensor/shape_matcher.h"

namespace millrace {

Tensor PoolingOps::pool(const Tensor& hidden, const Batch& batch, PoolingMode mode) {
  ShapeMatcher match("pool", device());
  match.match("hidden", hidden, {batch.num_tokens(), "hidden"});
  const Tensor out = arena().allocate(DType::kF32, {batch.num_sequences(), match["hidden"]});
  run_pool(hidden, batch, mode, out);
  return out;
}

void PoolingOps::normalize_rows(const Tensor& out) {
  ShapeMatcher("normalize_rows", device()).match("out", out, {"rows", "features"});
  CHECK(out.dtype == DType::kF32, "normalize_rows: {}", to_string(out));
  run_normalize_rows(out);
}

}  // namespace millrace
