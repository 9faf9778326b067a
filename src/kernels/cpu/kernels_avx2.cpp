// The kernels for AVX2 with FMA3; compiled with flags of its own.
#include "kernels/cpu/simd_avx2.h"
#include "kernels/cpu/table_impl.h"

namespace millrace::cpu {

constinit const Kernels kAvx2Kernels = make_kernels<Vec256>(Isa::kAvx2);

}  // namespace millrace::cpu
