// The text of src/kernels/cuda, as it stood when this library was built.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace millrace::cuda {

struct KernelSource {
  std::string_view name;  // "smxx_attention.cuh", as #include spells it
  std::string_view text;
};

std::span<const KernelSource> kernel_sources();  // sorted by name

std::string kernel_sources_digest();  // SHA-256 over names and texts, in hex

}  // namespace millrace::cuda
