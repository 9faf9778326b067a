// Poisson and constant arrivals.
#include "load/arrivals.h"

#include "base/error.h"

namespace millrace {

std::optional<ArrivalKind> arrival_kind_from_name(std::string_view name) {
  if (name == "poisson") return ArrivalKind::kPoisson;
  if (name == "constant") return ArrivalKind::kConstant;
  return std::nullopt;
}

Arrivals::Arrivals(ArrivalKind kind, double rate, uint64_t seed)
    : kind_(kind), rate_(rate), random_(seed) {
  CHECK(rate > 0, "rate {}", rate);
}

Clock::duration Arrivals::next() {
  if (kind_ == ArrivalKind::kConstant) {
    at_ = static_cast<double>(num_) / rate_;
  } else {
    at_ += std::exponential_distribution<double>(rate_)(random_);
  }
  ++num_;
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(at_));
}

}  // namespace millrace
