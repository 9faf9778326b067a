// NVIDIA's compute capabilities from 8.0 on, and the forms in which NVRTC compiles for them.
#include "kernels/cuda/arch.h"

#include <algorithm>
#include <array>

namespace millrace::cuda {

namespace {

constexpr std::array kArchs = {Arch{80},  Arch{86},        Arch{87},  Arch{89},
                               Arch{90},  Arch{90, true},  Arch{100}, Arch{100, true},
                               Arch{103}, Arch{103, true}, Arch{120}, Arch{120, true},
                               Arch{121}, Arch{121, true}};

}  // namespace

std::string to_string(Arch arch) {
  return "sm_" + std::to_string(arch.version) + (arch.specific ? "a" : "");
}

std::optional<Arch> arch_from_name(std::string_view name) {
  const auto* found =
      std::ranges::find_if(kArchs, [&](const Arch& arch) { return to_string(arch) == name; });
  return found == kArchs.end() ? std::nullopt : std::optional(*found);
}

std::string arch_names() {
  std::string names;
  for (const Arch& arch : kArchs) names += (names.empty() ? "" : ", ") + to_string(arch);
  return names;
}

Arch native_arch(int capability) {
  constexpr int kFirstSpecific = 90;
  return {.version = capability, .specific = capability >= kFirstSpecific};
}

bool runs_on(Arch arch, int capability) {
  if (arch.specific) return arch.version == capability;
  return arch.version / 10 == capability / 10 && arch.version <= capability;
}

}  // namespace millrace::cuda
