// The kernels for any processor; compiled with flags of its own.
#include "kernels/cpu/simd_portable.h"
#include "kernels/cpu/table_impl.h"

namespace millrace::cpu {

constinit const Kernels kPortableKernels = make_kernels<VecPortable>(Isa::kPortable);

}  // namespace millrace::cpu
