// QueueEstimate: how long what waits in the engine will take, from the rate of its full steps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace millrace {

// Running mean of the tokens computed in a second. Only full steps count, those that left others
// waiting: what one short text takes says nothing of the capacity.
class TokenRate {
 public:
  void observe(int64_t num_tokens, double seconds) {
    tokens_ = kMemory * tokens_ + static_cast<double>(num_tokens);
    seconds_ = kMemory * seconds_ + seconds;
  }
  double tokens_per_s() const { return seconds_ > 0 ? tokens_ / seconds_ : 0; }  // 0: no step yet

 private:
  static constexpr double kMemory = 0.95;  // of each step in the next: the last twenty or so count
  double tokens_ = 0;
  double seconds_ = 0;
};

// A snapshot. Times are in seconds; 0 where nothing is known yet, and while no more waits than a
// step holds: an idle server has room whatever was measured once.
struct QueueEstimate {
  int64_t num_waiting_tokens = 0;  // in no step yet
  size_t num_requests = 0;         // submitted and not finished
  int64_t step_tokens = 0;         // that a step aims at
  double tokens_per_s = 0;         // 0: not known

  // Until all that waits now is computed.
  double drain_time() const { return time_of(num_waiting_tokens); }

  // How long a request of `num_tokens` that came now would wait: at equal shares, for as many
  // tokens of each other request, and for no more than there are. So one large request keeps no
  // short one out.
  double wait_time(int64_t num_tokens) const { return time_of(tokens_before(num_tokens)); }

  // Until it would be computed.
  double finish_time(int64_t num_tokens) const {
    return time_of(tokens_before(num_tokens) + num_tokens);
  }

 private:
  int64_t tokens_before(int64_t num_tokens) const {
    return std::min(num_waiting_tokens, static_cast<int64_t>(num_requests) * num_tokens);
  }

  double time_of(int64_t num_tokens) const {
    if (num_waiting_tokens <= step_tokens || tokens_per_s <= 0) return 0;
    return static_cast<double>(num_tokens) / tokens_per_s;
  }
};

}  // namespace millrace
