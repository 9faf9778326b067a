// Which device the tests run on.
#pragma once

#include <cstdlib>
#include <string_view>

namespace millrace {

// Where MILLRACE_TEST_DEVICE says cuda, tests of devices run on the GPU alone, and fail without
// one.
inline bool tests_a_gpu() {
  const char* device = std::getenv("MILLRACE_TEST_DEVICE");
  return device && std::string_view(device) == "cuda";
}

}  // namespace millrace
