// Philox4x32-10, as kernels/cpu/philox.h has it: the number of a seed at a position.
#pragma once

namespace millrace::cuda {

// In [0, 1), with 53 bits.
__device__ inline double philox_uniform(unsigned long long seed, unsigned long long position) {
  unsigned x0 = static_cast<unsigned>(position);
  unsigned x1 = static_cast<unsigned>(position >> 32);
  unsigned x2 = 0;
  unsigned x3 = 0;
  unsigned key0 = static_cast<unsigned>(seed);
  unsigned key1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned a_high = __umulhi(0xD2511F53u, x0);
    const unsigned a_low = 0xD2511F53u * x0;
    const unsigned b_high = __umulhi(0xCD9E8D57u, x2);
    const unsigned b_low = 0xCD9E8D57u * x2;
    x0 = b_high ^ x1 ^ key0;
    x1 = b_low;
    x2 = a_high ^ x3 ^ key1;
    x3 = a_low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  const unsigned long long joined = (static_cast<unsigned long long>(x0) << 32 | x1) >> 11;
  return static_cast<double>(joined) * 0x1p-53;
}

}  // namespace millrace::cuda
