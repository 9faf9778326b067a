// Arena: step-local memory from one block, sized by a plan before the first step.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/tensor.h"

namespace millrace {

// A stack: allocate() moves up, ArenaScope moves back down. Nothing is ever freed singly.
// An arena without memory (base == nullptr) hands out null and only measures: that is how a plan
// finds the peak, by the very calls that a step makes.
class Arena {
 public:
  static constexpr int64_t kAlignment = 256;  // bytes; suits every vector load of CPU and GPU

  Arena() = default;
  Arena(void* base, int64_t capacity, Device device)
      : base_(base), capacity_(capacity), device_(device) {}

  // Throws InternalError when the plan was too small: a bug, never the user's fault.
  Tensor allocate(DType dtype, const Shape& shape);

  int64_t used() const { return used_; }          // bytes
  int64_t peak() const { return peak_; }          // bytes, since construction
  int64_t capacity() const { return capacity_; }  // bytes
  void reset() { used_ = 0; }

 private:
  friend class ArenaScope;

  void* base_ = nullptr;
  int64_t capacity_ = INT64_MAX;
  Device device_;
  int64_t used_ = 0;
  int64_t peak_ = 0;
};

// Everything allocated while it lives goes away with it.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.used_) {}
  ~ArenaScope() { arena_.used_ = mark_; }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  int64_t mark_;
};

}  // namespace millrace
