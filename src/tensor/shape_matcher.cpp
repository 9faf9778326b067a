// Binding of symbolic sizes.
#include "tensor/shape_matcher.h"

namespace millrace {

ShapeMatcher& ShapeMatcher::match(std::string_view tensor_name, const Tensor& tensor,
                                  std::initializer_list<Dim> dims) {
  CHECK(tensor.device == device_, "{}: {} is {}, the op runs on {}", op_, tensor_name,
        to_string(tensor), to_string(device_));
  CHECK(tensor.shape.rank() == static_cast<int>(dims.size()), "{}: {} is {}, expected rank {}", op_,
        tensor_name, to_string(tensor), dims.size());
  int index = 0;
  for (const Dim& dim : dims) {
    const int64_t actual = tensor.shape[index];
    int64_t expected = dim.size;
    if (!dim.name.empty()) {
      expected = actual;
      bool known = false;
      for (const auto& [name, size] : bound_) {
        if (name == dim.name) {
          expected = size;
          known = true;
        }
      }
      if (!known) bound_.emplace_back(dim.name, actual);
    }
    CHECK(actual == expected, "{}: {} is {}, dimension {} ({}) must be {}", op_, tensor_name,
          to_string(tensor), index, dim.name, expected);
    ++index;
  }
  return *this;
}

int64_t ShapeMatcher::operator[](std::string_view name) const {
  for (const auto& [bound, size] : bound_) {
    if (bound == name) return size;
  }
  throw_internal_error(__FILE__, __LINE__, "bound",
                       fmt::format("{}: no dimension is named {}", op_, name));
}

}  // namespace millrace
