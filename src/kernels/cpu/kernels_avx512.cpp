// The kernels for AVX-512 (F, BW, DQ, VL); compiled with flags of its own.
#include "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/table_impl.h"

namespace millrace::cpu {

constinit const Kernels kAvx512Kernels = make_kernels<Vec512>(Isa::kAvx512);

}  // namespace millrace::cpu
