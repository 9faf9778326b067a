// FailureInjection: makes steps fail on purpose, to prove that a failing one hurts nobody else. Off
// unless the environment variable MILLRACE_FAIL says otherwise.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace millrace {

// Where a step can fail.
enum class FailurePoint : uint8_t {
  kAlloc,   // before it takes memory
  kLaunch,  // as the model is run
  kSample,  // as tokens are drawn
  kStep,    // as its results are read
  kDevice,  // as kLaunch, and the GPU is lost for good
};

class FailureInjection {
 public:
  FailureInjection() = default;  // nothing fails

  // "launch:every=50,step:at=7": of the calls at a point every fiftieth fails, and the seventh one
  // alone. Throws Error{kInvalidArgument} that says what it takes.
  explicit FailureInjection(std::string_view text);

  // What MILLRACE_FAIL says, which is logged as a warning; nothing where it is not set.
  static FailureInjection from_environment();

  // Counts a call. Throws Error{kUnsupported}, or DeviceLost, when it is one that has to fail.
  void at(FailurePoint point);

 private:
  struct Rule {
    FailurePoint point = FailurePoint::kLaunch;
    uint64_t every = 0;  // 0: only `once`
    uint64_t once = 0;   // counted from 1; 0: only `every`
    uint64_t num_calls = 0;
  };

  std::vector<Rule> rules_;
};

}  // namespace millrace
