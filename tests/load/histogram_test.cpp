// Percentiles against sorted values.
#include "load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace millrace {
namespace {

using std::chrono::microseconds;

TEST(Histogram, EmptyIsZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.percentile(99), Clock::duration{});
  EXPECT_EQ(histogram.mean(), Clock::duration{});
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (int i = 1; i <= 100; ++i) histogram.record(microseconds(i));
  EXPECT_EQ(histogram.percentile(50), microseconds(50));
  EXPECT_EQ(histogram.percentile(99), microseconds(99));
  EXPECT_EQ(histogram.percentile(99.5), microseconds(100));
  EXPECT_EQ(histogram.percentile(100), microseconds(100));
  EXPECT_EQ(histogram.percentile(1e-9), microseconds(1));
  EXPECT_EQ(histogram.min(), microseconds(1));
  EXPECT_EQ(histogram.mean(), microseconds(50));
  histogram.record(microseconds(-5));
  EXPECT_EQ(histogram.min(), microseconds(0));
}

TEST(Histogram, PercentilesAreWithinAHundredthAndNeverBelow) {
  const auto seed = std::random_device()();
  std::mt19937_64 random(seed);
  std::vector<int64_t> values(20'000);
  Histogram all;
  Histogram halves[2];
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::llround(std::exp(std::uniform_real_distribution<double>(0, 25)(random)));
    all.record(microseconds(values[i]));
    halves[i % 2].record(microseconds(values[i]));
  }
  halves[0].merge(halves[1]);
  halves[0].merge({});
  std::ranges::sort(values);
  for (const double percent : {0.1, 1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    const auto rank =
        static_cast<size_t>(std::ceil(percent / 100 * static_cast<double>(values.size()) - 1e-6));
    const int64_t truth = values[rank - 1];
    const auto found = std::chrono::duration_cast<microseconds>(all.percentile(percent)).count();
    EXPECT_GE(found, truth) << percent << " seed " << seed;
    EXPECT_LE(static_cast<double>(found), 1.008 * static_cast<double>(truth))
        << percent << " seed " << seed;
    EXPECT_EQ(halves[0].percentile(percent), all.percentile(percent));
  }
  EXPECT_EQ(all.percentile(100), microseconds(values.back()));
  EXPECT_EQ(halves[0].count(), all.count());
  EXPECT_EQ(halves[0].mean(), all.mean());
  EXPECT_EQ(halves[0].min(), microseconds(values.front()));
}

}  // namespace
}  // namespace millrace
