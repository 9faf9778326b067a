// PoolingOps: from rows of tokens to one vector a sequence.
#pragma once

#include "config/model_config.h"
#include "ops/batch.h"
#include "ops/linear.h"
#include "ops/ops_context.h"

namespace millrace {

class PoolingOps : public virtual OpsContext {
 public:
  // One F32 row a sequence, [num_sequences, hidden]: its first row, its last row, or the mean of
  // its rows.
  Tensor pool(const Tensor& hidden, const Batch& batch, PoolingMode mode);

  // Each row divided by max(Euclidean norm, 1e-12), in place; F32.
  void normalize_rows(const Tensor& out);

 private:
  virtual void run_pool(const Tensor& hidden, const Batch& batch, PoolingMode mode,
                        const Tensor& out) = 0;
  virtual void run_normalize_rows(const Tensor& out) = 0;
};

}  // namespace millrace
