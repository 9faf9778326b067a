// Names of instances, as C++ spells them.
#include "kernels/cuda/kernel_instance.h"

#include <algorithm>

#include "base/error.h"

namespace millrace::cuda {

namespace {

std::string to_string(const TemplateArgument& argument) {
  if (!argument.is_type) return std::to_string(argument.value);
  switch (static_cast<DType>(argument.value)) {
    case DType::kF32: return "float";
    case DType::kF16: return "fp16";
    case DType::kBF16: return "bf16";
    default: break;
  }
  CHECK(false, "no kernel takes {}", millrace::to_string(static_cast<DType>(argument.value)));
}

}  // namespace

KernelInstance::KernelInstance(std::string_view function,
                               std::initializer_list<TemplateArgument> arguments)
    : function_(function), num_arguments_(arguments.size()) {
  CHECK(arguments.size() <= kMaxArguments, "{} template arguments", arguments.size());
  std::ranges::copy(arguments, arguments_.begin());
}

std::string KernelInstance::name() const {
  std::string list;
  for (size_t i = 0; i < num_arguments_; ++i)
    list += (i == 0 ? "" : ", ") + to_string(arguments_[i]);
  return num_arguments_ == 0 ? std::string(function_) : fmt::format("{}<{}>", function_, list);
}

}  // namespace millrace::cuda
