// The instruction sets that CPU kernels are written for, and the choice among them at run time.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"

namespace millrace::cpu {

// Each one includes those above it.
enum class Isa : uint8_t {
  kPortable,    // what the compiler makes of plain C++
  kAvx2,        // AVX2, FMA3, F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL
  kAvx512Bf16,  // and AVX512_BF16: products of bf16
  kAmxBf16,     // and AMX tiles of bf16: products of bf16, and of fp32 in three parts
};

std::string_view to_string(Isa isa);                      // "portable", "avx2", "avx512", ...
std::optional<Isa> isa_from_name(std::string_view name);  // the inverse of to_string
Isa best_isa(const CpuFeatures& features);                // the last one that the features allow
std::vector<Isa> supported_isas(const CpuFeatures& features);  // from kPortable to best_isa
bool has_bf16_products(Isa isa);  // whether weights may be packed as bf16

// The table of kernels for one instruction set; opaque to callers, lives for ever.
// Requires that the processor supports `isa`.
struct Kernels;
const Kernels& kernels_for(Isa isa);
Isa isa_of(const Kernels& kernels);

}  // namespace millrace::cpu
