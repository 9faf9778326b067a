// What every family of ops shares: the device, the arena, and the types it computes in.
#pragma once

#include "tensor/arena.h"
#include "tensor/dtype.h"

namespace millrace {

// The element types of a forward pass.
struct Precision {
  DType hidden = DType::kF32;   // residual stream, norms, attention
  DType product = DType::kF32;  // inputs of matrix products

  bool operator==(const Precision&) const = default;
};

// Resolves a compute dtype on a device, as docs/architecture.md states it. `checkpoint` is the
// dtype of the weights as found. Throws Error{kUnsupported} for what the device cannot compute in.
Precision choose_precision(ComputeDType compute, DType checkpoint, DeviceKind device);

// Families of ops inherit it virtually, so that one backend has one context.
class OpsContext {
 public:
  OpsContext(Device device, Precision precision, Arena arena)
      : device_(device), precision_(precision), arena_(arena) {}
  virtual ~OpsContext() = default;
  OpsContext(const OpsContext&) = delete;
  OpsContext& operator=(const OpsContext&) = delete;

  Device device() const { return device_; }
  const Precision& precision() const { return precision_; }
  Arena& arena() { return arena_; }

  // Rows of the last SamplingOps::sample(): what a negative token id of a batch may name.
  int64_t num_sampled() const { return num_sampled_; }

 protected:
  int64_t num_sampled_ = 0;

 private:
  Device device_;
  Precision precision_;
  Arena arena_;
};

}  // namespace millrace
