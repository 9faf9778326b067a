// Philox4x32-10: random numbers that are a function of a key and a counter (Salmon et al., Parallel
// Random Numbers: As Easy as 1, 2, 3; SC 2011).
#pragma once

#include <array>
#include <cstdint>

namespace millrace {

inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key) {
  auto key0 = static_cast<uint32_t>(key);
  auto key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

// In [0, 1), with 53 bits: the number of a seed at a position.
inline double philox_uniform(uint64_t seed, uint64_t position) {
  const auto bits =
      philox({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0}, seed);
  const uint64_t joined = (uint64_t{bits[0]} << 32 | bits[1]) >> 11;
  return static_cast<double>(joined) * 0x1p-53;
}

}  // namespace millrace
