// Durations in logarithmic buckets: any number of them in 50 KB, percentiles within 0.8 %.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace millrace {

// Microseconds. Below 256 each value has a bucket of its own; above, each power of two is cut into
// 128 (the layout of HdrHistogram, http://hdrhistogram.org).
class Histogram {
 public:
  void record(Clock::duration value);  // below zero counts as zero
  void merge(const Histogram& other);

  uint64_t count() const { return count_; }
  Clock::duration min() const;   // zero when empty, as the four below
  Clock::duration max() const;   // exact, as min
  Clock::duration mean() const;  // exact

  // The smallest value that at least `percent` of the records do not exceed, rounded up to its
  // bucket's end. Requires 0 < percent <= 100.
  Clock::duration percentile(double percent) const;

 private:
  std::vector<uint64_t> buckets_;  // as far as records reach
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t min_ = 0;
  uint64_t max_ = 0;
};

}  // namespace millrace
