// Seeds that nobody has asked for.
#pragma once

#include <cstdint>
#include <random>

namespace millrace {

// From the operating system's source.
inline uint64_t random_seed() {
  std::random_device random;
  return (static_cast<uint64_t>(random()) << 32) | random();
}

}  // namespace millrace
