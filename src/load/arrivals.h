// When the requests of an open loop are sent: a process that does not wait for answers.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string_view>

#include "base/clock.h"

namespace millrace {

enum class ArrivalKind {
  kPoisson,   // independent clients: exponential gaps
  kConstant,  // one client with a metronome: equal gaps
};

std::optional<ArrivalKind> arrival_kind_from_name(std::string_view name);  // "poisson", "constant"

class Arrivals {
 public:
  // `rate`: a second, above zero.
  Arrivals(ArrivalKind kind, double rate, uint64_t seed);

  // The time of the next arrival, counted from the first's time slot; never decreases. Kept in
  // double seconds, so that no rounding adds up.
  Clock::duration next();

 private:
  ArrivalKind kind_;
  double rate_;
  std::mt19937_64 random_;
  uint64_t num_ = 0;
  double at_ = 0;  // seconds
};

}  // namespace millrace
