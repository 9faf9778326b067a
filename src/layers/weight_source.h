// WeightSource: where named weights come from while a model is constructed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "tensor/tensor.h"

namespace millrace {

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // A host tensor, or nothing when the source has no such name. A plan answers with `expected` and
  // without values.
  virtual std::optional<Tensor> find(const std::string& name, const Shape& expected) const = 0;
  virtual std::vector<std::string> names() const = 0;  // empty for a plan
  virtual WeightNaming naming() const = 0;
};

// Names and shapes only, from the model's own description.
class PlanSource : public WeightSource {
 public:
  explicit PlanSource(DType dtype) : dtype_(dtype) {}

  std::optional<Tensor> find(const std::string& name, const Shape& expected) const override;
  std::vector<std::string> names() const override { return {}; }
  WeightNaming naming() const override { return WeightNaming::kCanonical; }

 private:
  DType dtype_;
};

// The tensors of safetensors files: a Hugging Face checkpoint, or the rank file of an engine.
class CheckpointSource : public WeightSource {
 public:
  // `checkpoint` must outlive the source and every tensor found in it.
  CheckpointSource(const Checkpoint& checkpoint, WeightNaming naming)
      : checkpoint_(checkpoint), naming_(naming) {}

  std::optional<Tensor> find(const std::string& name, const Shape& expected) const override;
  std::vector<std::string> names() const override { return checkpoint_.names(); }
  WeightNaming naming() const override { return naming_; }

 private:
  const Checkpoint& checkpoint_;
  WeightNaming naming_;
};

}  // namespace millrace
