// Arrival processes: their rate, their gaps, their repetition.
#include "load/arrivals.h"

#include <gtest/gtest.h>

#include <cmath>

namespace millrace {
namespace {

TEST(Arrivals, ConstantGapsDoNotDrift) {
  Arrivals arrivals(ArrivalKind::kConstant, 3, 1);
  EXPECT_EQ(arrivals.next(), Clock::duration{});
  for (int i = 1; i < 3'000'000; ++i) arrivals.next();
  EXPECT_NEAR(seconds(arrivals.next()), 1e6, 1e-6);
}

TEST(Arrivals, PoissonGapsAreExponential) {
  const uint64_t seed = std::random_device()();
  constexpr double kRate = 250;
  constexpr int kCount = 100'000;
  Arrivals arrivals(ArrivalKind::kPoisson, kRate, seed);
  double last = 0;
  double sum_of_squares = 0;
  int num_long = 0;
  for (int i = 0; i < kCount; ++i) {
    const double at = seconds(arrivals.next());
    ASSERT_GE(at, last);
    sum_of_squares += (at - last) * (at - last);
    num_long += at - last > 1 / kRate ? 1 : 0;
    last = at;
  }
  // Six standard deviations of each: mean 1/r, second moment 2/r^2, P(gap > 1/r) = 1/e.
  const double mean = last / kCount * kRate;
  EXPECT_NEAR(mean, 1, 6 / std::sqrt(kCount)) << seed;
  EXPECT_NEAR(sum_of_squares / kCount * kRate * kRate, 2, 6 * std::sqrt(20.0 / kCount)) << seed;
  EXPECT_NEAR(static_cast<double>(num_long) / kCount, std::exp(-1), 6 * 0.4823 / std::sqrt(kCount))
      << seed;
}

TEST(Arrivals, SameSeedSameTimes) {
  Arrivals a(ArrivalKind::kPoisson, 10, 7);
  Arrivals b(ArrivalKind::kPoisson, 10, 7);
  Arrivals c(ArrivalKind::kPoisson, 10, 8);
  const auto first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, c.next());
}

TEST(Arrivals, Names) {
  EXPECT_EQ(arrival_kind_from_name("poisson"), ArrivalKind::kPoisson);
  EXPECT_EQ(arrival_kind_from_name("constant"), ArrivalKind::kConstant);
  EXPECT_EQ(arrival_kind_from_name("Poisson"), std::nullopt);
}

}  // namespace
}  // namespace millrace
