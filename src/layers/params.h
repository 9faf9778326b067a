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

  // Every problem, and every name of the source that no parameter used and that `ignorable` does
  // not cover: prefixes, or suffixes after a "*".
  std::vector<std::string> all_problems(const WeightSource& source,
                                        const std::vector<std::string>& ignorable) const;

  // Throws one Error{kCorrupt} that lists them all.
  void require_complete(const WeightSource& source,
                        const std::vector<std::string>& ignorable) const;
};

// Whether a Linear has a bias.
enum class Bias : bool { kNo, kYes };

// Rows [begin, end) of a weight of the checkpoint.
struct RowRange {
  int64_t begin = 0;
  int64_t end = 0;
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
  Tensor table(std::string_view name, const Shape& shape) const;  // for embed_tokens()
  LayerNorm layer_norm(std::string_view name, int64_t features, float eps) const;
  RmsNorm rms_norm(std::string_view name, int64_t features, float eps, float offset) const;
  Linear linear(std::string_view name, int64_t out_features, int64_t in_features,
                Bias bias = Bias::kYes) const;

  // One Linear `name` from several of the checkpoint, stacked along the output.
  Linear merged_linear(std::string_view name, const std::vector<LinearPart>& parts,
                       int64_t in_features, Bias bias = Bias::kYes) const;

  // One Linear `name` from the checkpoint's `found_as`, its rows in another order.
  Linear reordered_linear(std::string_view name, std::string_view found_as,
                          const std::vector<RowRange>& order, int64_t in_features, Bias bias) const;

  // A Linear over the matrix `name`, which is a parameter already.
  Linear tied_linear(std::string_view name, const Shape& shape) const;

 private:
  std::string canonical(std::string_view name) const { return canonical_ + std::string(name); }
  std::string found_as(std::string_view name) const { return found_as_ + std::string(name); }

  // The tensor, or a stand-in and a problem.
  Tensor find(const std::string& name, const Shape& shape) const;
  // `found` answers for a leaf ("weight", "bias") with the rows of a checkpoint that make it up; an
  // engine has them under `merged` as they are. Notes the parameter.
  struct Leaf {
    std::string_view name;
    int64_t columns = 0;  // 0: a vector
  };
  template <typename Found>
  Parameter gather(std::string_view merged, int64_t rows, const Leaf& leaf,
                   const Found& found) const;
  template <typename Found>
  Linear make_linear(std::string_view merged, const std::vector<LinearPart>& parts,
                     int64_t in_features, Bias bias, const Found& found) const;

  const WeightSource* source_;
  Ops* ops_;
  ParameterList* list_;
  std::string canonical_;  // path of this module in an engine, with a final dot
  std::string found_as_;   // path of this module in the source, with a final dot
};

}  // namespace millrace
