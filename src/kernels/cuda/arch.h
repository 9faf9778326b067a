// Arch: the GPU architecture that kernels are compiled for.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::cuda {

// Machine code for sm_XY runs on GPUs of the same X and the same or a later Y; that of sm_XYa,
// which may use instructions of this architecture alone, on exactly these.
struct Arch {
  int version = 0;  // ten times the compute capability: 80, 90, 120
  bool specific = false;

  bool operator==(const Arch&) const = default;
};

std::string to_string(Arch arch);  // "sm_80", "sm_90a"

// Any architecture that Millrace has kernels for: 8.0 and later.
std::optional<Arch> arch_from_name(std::string_view name);

std::string arch_names();  // of a message: "sm_80, sm_86, ..."

// Ten times the compute capability that kernels need: asynchronous copies, bf16.
inline constexpr int kLeastCapability = 80;

// What is compiled for a GPU of this capability where there is a choice: the most specific form.
Arch native_arch(int capability);

bool runs_on(Arch arch, int capability);

}  // namespace millrace::cuda
