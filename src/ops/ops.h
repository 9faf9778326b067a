// Ops: the seam between models and devices. One per rank.
#pragma once

#include "ops/attention_ops.h"
#include "ops/dense_ops.h"
#include "ops/pooling_ops.h"

namespace millrace {

// A new family of models adds a family of ops; a device implements all of them.
class Ops : public DenseOps, public AttentionOps, public PoolingOps {};

}  // namespace millrace
