// Names from Truss's schema; capabilities and targets from NVIDIA's table of compute capabilities.
#include "config/accelerator.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace millrace {

namespace {

constexpr std::array kAccelerators = {
    Accelerator{"T4", 75, "sm_75"},
    Accelerator{"L4", 89, "sm_89"},
    Accelerator{"A10G", 86, "sm_86"},
    Accelerator{"V100", 70, "sm_70"},
    Accelerator{"A100", 80, "sm_80"},
    Accelerator{"A100_40GB", 80, "sm_80"},
    Accelerator{"H100", 90, "sm_90a"},
    Accelerator{"H200", 90, "sm_90a"},
    Accelerator{"H100_40GB", 90, "sm_90a"},
    Accelerator{"B200", 100, "sm_100a"},
    Accelerator{"L40S", 89, "sm_89"},
    Accelerator{"RTX_PRO_6000", 120, "sm_120a"},
    Accelerator{"B300", 103, "sm_103a"},
    Accelerator{"GB300", 103, "sm_103a"},
    Accelerator{"B10", 0, ""},
};

}  // namespace

std::span<const Accelerator> accelerators() {
  return kAccelerators;
}

std::string accelerator_names() {
  std::string out;
  for (const Accelerator& accelerator : kAccelerators) {
    if (!out.empty()) out += ", ";
    out += accelerator.name;
  }
  return out;
}

std::optional<AcceleratorSpec> parse_accelerator(std::string_view text) {
  const size_t colon = text.find(':');
  const auto* found = std::find_if(
      kAccelerators.begin(), kAccelerators.end(),
      [&](const Accelerator& accelerator) { return accelerator.name == text.substr(0, colon); });
  if (found == kAccelerators.end()) return std::nullopt;
  AcceleratorSpec spec{.accelerator = *found};
  if (colon == std::string_view::npos) return spec;
  const std::string_view digits = text.substr(colon + 1);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), spec.count);
  if (error != std::errc() || end != digits.data() + digits.size() || spec.count < 1) {
    return std::nullopt;
  }
  return spec;
}

}  // namespace millrace
