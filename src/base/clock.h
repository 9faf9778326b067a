// The clock that durations are measured with.
#pragma once

#include <chrono>

namespace millrace {

using Clock = std::chrono::steady_clock;

inline double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}
inline double milliseconds(Clock::duration duration) {
  return 1e3 * seconds(duration);
}

}  // namespace millrace
