// What the processor and the operating system let us use, asked once through CPUID.
#pragma once

#include <string>

namespace millrace {

// All false on processors other than x86-64.
struct CpuFeatures {
  bool avx2 = false;         // with FMA3 and F16C
  bool avx512 = false;       // F, BW, DQ, VL
  bool avx512_bf16 = false;  // with avx512
  bool amx_bf16 = false;     // with avx512_bf16; the kernel has granted this process the tile data
};

CpuFeatures cpu_features();

std::string to_string(const CpuFeatures& features);  // "avx2 avx512", "none"

}  // namespace millrace
