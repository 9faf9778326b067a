// Params: a cursor over named weights, with which models are constructed.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "layers/weight_source.h"
#include "ops/ops.h"

namespace millrace {

// One weight of a model as an engine stores it: under its canonical name, merged, as found.
struct Parameter {
  std::string name;
  Shape shape;
  WeightFormat format;
  std::vector<Tensor> parts;  // host tensors whose rows follow each other; without values in a plan

  int64_t numel() const { return shape.numel(); }
  int64_t bytes() const { return numel() * size_of(format.dtype); }
};

// What the construction of a model found: its parameters, and all that is wrong with the source.
struct ParameterList {
  std::vector<Parameter> parameters;  // in order of construction
  std::set<std::string> used;         // names of the source that found their place
  std::vector<std::string> problems;  // missing, misshaped, of a wrong type; by full path

  int64_t numel() const;
  int64_t bytes() const;

  // Throws one Error{kCorrupt} that lists every problem, and every name of the source that no
  // parameter used and no prefix of `ignorable` covers.
  void require_complete(const WeightSource& source,
                        const std::vector<std::string>& ignorable) const;
};

// Copyable; `source`, `ops` and `list` outlive it. A weight that is not there is noted in the list
// and stands in without values, so that one run finds all that is wrong.
class Params {
 public:
  Params(const WeightSource& source, Ops& ops, ParameterList& list)
      : source_(&source), ops_(&ops), list_(&list) {}

  // The module `name` below this one.
  Params operator/(std::string_view name) const;

  // The same module, which checkpoints may keep below `name`; canonical names never do.
  Params within_optional(std::string_view name) const;

  bool has(std::string_view name) const;  // the source holds a tensor or a module of this name here

  Tensor tensor(std::string_view name, const Shape& shape) const;
  LayerNorm layer_norm(std::string_view name, int64_t features, float eps) const;
  Linear linear(std::string_view name, int64_t out_features, int64_t in_features) const;

  // One Linear `name` from several of the checkpoint, stacked along the output.
  Linear merged_linear(std::string_view name, const std::vector<LinearPart>& parts,
                       int64_t in_features) const;

 private:
  std::string canonical(std::string_view name) const { return canonical_ + std::string(name); }
  std::string found_as(std::string_view name) const { return found_as_ + std::string(name); }

  // The tensor, or a stand-in and a problem.
  Tensor find(const std::string& name, const Shape& shape) const;
  // Looks for the merged name or for each part, and notes the parameter.
  Parameter gather(std::string_view merged, const std::vector<LinearPart>& parts,
                   std::string_view leaf, int64_t columns) const;

  const WeightSource* source_;
  Ops* ops_;
  ParameterList* list_;
  std::string canonical_;  // path of this module in an engine, with a final dot
  std::string found_as_;   // path of this module in the source, with a final dot
};

}  // namespace millrace
