// RandomSource: parameters of a model that has none: values from a seed, for benchmarks of real
// shapes.
#pragma once

#include <deque>

#include "base/thread_pool.h"
#include "layers/weight_source.h"
#include "tensor/buffer.h"

namespace millrace {

// Matrices have deviation 0.02, as BERT is initialised (Devlin et al. 2018); vectors named
// `weight`, which scale norms, lie around one, all others around zero. Values depend on the seed
// and the tensor's name alone.
class RandomSource : public WeightSource {
 public:
  // `pool` must outlive the source; tensors live as long as the source.
  RandomSource(DType dtype, uint64_t seed, ThreadPool& pool)
      : dtype_(dtype), seed_(seed), pool_(pool) {}

  std::optional<Tensor> find(const std::string& name, const Shape& expected) const override;
  std::vector<std::string> names() const override { return {}; }
  WeightNaming naming() const override { return WeightNaming::kCanonical; }

 private:
  DType dtype_;
  uint64_t seed_;
  ThreadPool& pool_;
  mutable std::deque<Buffer> memory_;
};

}  // namespace millrace
