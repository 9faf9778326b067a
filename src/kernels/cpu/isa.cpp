// Names of instruction sets, the choice of one, and the way to its table.
#include "kernels/cpu/isa.h"

#include <array>

#include "base/error.h"
#include "kernels/cpu/kernel_table.h"

namespace millrace::cpu {

namespace {

constexpr std::array kAllIsas = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16,
                                 Isa::kAmxBf16};

bool allows(const CpuFeatures& features, Isa isa) {
  switch (isa) {
    case Isa::kPortable: return true;
    case Isa::kAvx2: return features.avx2;
    case Isa::kAvx512: return features.avx512;
    case Isa::kAvx512Bf16: return features.avx512_bf16;
    case Isa::kAmxBf16: return features.amx_bf16;
  }
  return false;
}

}  // namespace

std::string_view to_string(Isa isa) {
  switch (isa) {
    case Isa::kPortable: return "portable";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAvx512Bf16: return "avx512_bf16";
    case Isa::kAmxBf16: return "amx_bf16";
  }
  return "unknown";
}

std::optional<Isa> isa_from_name(std::string_view name) {
  for (Isa isa : kAllIsas) {
    if (to_string(isa) == name) return isa;
  }
  return std::nullopt;
}

std::vector<Isa> supported_isas(const CpuFeatures& features) {
  std::vector<Isa> isas;
  for (Isa isa : kAllIsas) {
    if (!allows(features, isa)) break;
    isas.push_back(isa);
  }
  return isas;
}

Isa best_isa(const CpuFeatures& features) {
  return supported_isas(features).back();
}

bool has_bf16_products(Isa isa) {
  return isa >= Isa::kAvx512Bf16;
}

const Kernels& kernels_for(Isa isa) {
  switch (isa) {
    case Isa::kPortable: return kPortableKernels;
#if defined(__x86_64__)
    case Isa::kAvx2: return kAvx2Kernels;
    case Isa::kAvx512: return kAvx512Kernels;
    case Isa::kAvx512Bf16: return kAvx512Bf16Kernels;
    case Isa::kAmxBf16: return kAmxBf16Kernels;
#endif
    default: break;
  }
  CHECK(false, "no kernels for {} on this architecture", to_string(isa));
  return kPortableKernels;
}

Isa isa_of(const Kernels& kernels) {
  return kernels.isa;
}

}  // namespace millrace::cpu
