// Bucket arithmetic.
#include "load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace millrace {

namespace {

using Microseconds = std::chrono::microseconds;

constexpr uint64_t kLinear = 256;             // values with a bucket of their own
constexpr uint64_t kPerOctave = kLinear / 2;  // buckets of each power of two beyond
constexpr int kLinearBits = 8;                // of kLinear

size_t bucket_of(uint64_t value) {
  if (value < kLinear) return value;
  const int shift = std::bit_width(value) - kLinearBits;
  const uint64_t top = value >> shift;  // in [kPerOctave, kLinear)
  return kLinear + static_cast<uint64_t>(shift - 1) * kPerOctave + (top - kPerOctave);
}

uint64_t last_value_of(size_t bucket) {
  if (bucket < kLinear) return bucket;
  const uint64_t beyond = bucket - kLinear;
  const uint64_t shift = beyond / kPerOctave + 1;
  const uint64_t top = beyond % kPerOctave + kPerOctave;
  return ((top + 1) << shift) - 1;
}

Clock::duration to_duration(uint64_t microseconds) {
  return Microseconds(microseconds);
}

}  // namespace

void Histogram::record(Clock::duration value) {
  const auto microseconds = std::chrono::duration_cast<Microseconds>(value).count();
  const uint64_t v = microseconds > 0 ? static_cast<uint64_t>(microseconds) : 0;
  const size_t bucket = bucket_of(v);
  if (bucket >= buckets_.size()) buckets_.resize(bucket + 1);
  ++buckets_[bucket];
  min_ = count_ == 0 ? v : std::min(min_, v);
  max_ = std::max(max_, v);
  sum_ += v;
  ++count_;
}

void Histogram::merge(const Histogram& other) {
  if (other.count_ == 0) return;
  if (other.buckets_.size() > buckets_.size()) buckets_.resize(other.buckets_.size());
  for (size_t i = 0; i < other.buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

Clock::duration Histogram::min() const {
  return to_duration(min_);
}

Clock::duration Histogram::max() const {
  return to_duration(max_);
}

Clock::duration Histogram::mean() const {
  return to_duration(count_ == 0 ? 0 : sum_ / count_);
}

Clock::duration Histogram::percentile(double percent) const {
  CHECK(percent > 0 && percent <= 100, "percentile {}", percent);
  if (count_ == 0) return {};
  // The tolerance keeps 99.9 % of 1000 at 999: the product is a little above it.
  const auto wanted =
      static_cast<uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_) * (1 - 1e-12)));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return to_duration(std::min(last_value_of(i), max_));
  }
  return max();
}

}  // namespace millrace
