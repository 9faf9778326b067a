// The accelerators that `resources.accelerator` may name.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace millrace {

struct Accelerator {
  std::string_view name;    // "H100_40GB"
  int capability = 0;       // compute capability times 10: 90; 0: not public
  std::string_view target;  // what kernels are compiled for: "sm_90a"; empty: not public
};

struct AcceleratorSpec {
  Accelerator accelerator;
  int count = 1;
};

std::span<const Accelerator> accelerators();
std::string accelerator_names();  // "T4, L4, ..."

// "H100" or "H100:4". nullopt: the name is unknown or the count is no positive integer.
std::optional<AcceleratorSpec> parse_accelerator(std::string_view text);

}  // namespace millrace
