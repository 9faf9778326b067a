// KernelInstance: one kernel with its template arguments: what is compiled, and what is launched.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace millrace::cuda {

// A type or a number.
struct TemplateArgument {
  TemplateArgument() = default;
  TemplateArgument(DType type) : is_type(true), value(static_cast<int>(type)) {}  // NOLINT
  TemplateArgument(int number) : value(number) {}                                 // NOLINT

  bool is_type = false;
  int value = 0;

  bool operator==(const TemplateArgument&) const = default;
};

// Holds only what changes the generated code: types, head size, the vectors of a row that a thread
// keeps; never the rows of a step, the width of a weight or the number of heads.
class KernelInstance {
 public:
  static constexpr size_t kMaxArguments = 4;

  KernelInstance() = default;
  // `function`: a literal. The template of that name stands in src/kernels/cuda/<function>.cuh.
  KernelInstance(std::string_view function, std::initializer_list<TemplateArgument> arguments);

  std::string_view function() const { return function_; }
  std::string name() const;  // "smxx_attention<bf16, 64>"

  bool operator==(const KernelInstance&) const = default;

 private:
  std::string_view function_;
  std::array<TemplateArgument, kMaxArguments> arguments_{};
  size_t num_arguments_ = 0;
};

}  // namespace millrace::cuda
