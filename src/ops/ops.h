// Ops: the seam between models and devices. One per rank.
#pragma once

#include "ops/attention_ops.h"
#include "ops/dense_ops.h"
#include "ops/pooling_ops.h"
#include "ops/sampling_ops.h"

namespace millrace {

// A new family of models adds a family of ops; a device implements all of them.
//
// A step is begin_step(), a forward pass, to_host() of what is wanted, end_step(). A device may
// still be at work on it afterwards: its values are on the host once wait_step() has returned.
class Ops : public DenseOps, public AttentionOps, public PoolingOps, public SamplingOps {
 public:
  // Empties the arena. `batch` must stay as it is until end_step().
  virtual void begin_step(const Batch& batch);

  // A view or a copy in host memory, valid until max_steps_in_flight() further steps begin.
  virtual Tensor to_host(const Tensor& tensor) { return tensor; }

  // The number of this step; counted from 0.
  virtual uint64_t end_step() { return num_steps_++; }
  virtual void wait_step(uint64_t /*step*/) {}

  // So many steps may have begun before the first of them is waited for.
  virtual int max_steps_in_flight() const { return 1; }

 private:
  uint64_t num_steps_ = 0;
};

inline void Ops::begin_step(const Batch& /*batch*/) {
  arena().reset();
}

}  // namespace millrace
