// Backoff: how often to try what only pays at times.
#pragma once

#include <algorithm>

namespace millrace {

// Each time it paid, it is due again at once; each further time in vain, half as often, down to
// once in 2^kMost.
class Backoff {
 public:
  static constexpr int kMost = 6;

  bool due() {
    if (num_to_skip_ == 0) return true;
    --num_to_skip_;
    return false;
  }

  void tried(bool paid) {
    num_in_vain_ = paid ? 0 : std::min(num_in_vain_ + 1, kMost);
    num_to_skip_ = (1 << num_in_vain_) - 1;
  }

 private:
  int num_in_vain_ = 0;  // since it last paid
  int num_to_skip_ = 0;
};

}  // namespace millrace
