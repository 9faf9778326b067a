// ShapeMatcher: checks the tensors of an op against shapes with symbolic sizes.
#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace millrace {

// A dimension of an expected shape: a number, or a name that must mean the same size throughout.
struct Dim {
  Dim(int64_t fixed) : size(fixed) {}        // NOLINT: implicit by design
  Dim(const char* symbol) : name(symbol) {}  // NOLINT: implicit by design

  int64_t size = -1;
  std::string_view name;
};

// ShapeMatcher m("add_layer_norm", device);
// m.match("hidden", hidden, {"tokens", "hidden"}).match("gamma", gamma, {"hidden"});
// A mismatch is our bug: it throws InternalError naming op, tensor, both shapes.
class ShapeMatcher {
 public:
  ShapeMatcher(std::string_view op, Device device) : op_(op), device_(device) {}

  ShapeMatcher& match(std::string_view tensor_name, const Tensor& tensor,
                      std::initializer_list<Dim> dims);
  int64_t operator[](std::string_view name) const;  // the size that `name` was bound to

 private:
  std::string_view op_;
  Device device_;
  std::vector<std::pair<std::string_view, int64_t>> bound_;
};

}  // namespace millrace
