// MetricsRegistry: families of one part of the server, made in one line each.
// Includes prometheus-cpp: for .cpp files only.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace millrace {

class MetricsRegistry {
 public:
  using Buckets = prometheus::Histogram::BucketBoundaries;

  // Of durations from a short request's to a long queue's.
  static inline const Buckets kSeconds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                          0.25,   0.5,   1,      2.5,   5,    10,    30,   60};

  template <typename Metric>
  prometheus::Family<Metric>& family(prometheus::detail::Builder<Metric> builder,
                                     const std::string& name, const char* help) {
    return builder.Name(name).Help(help).Register(registry_);
  }
  prometheus::Family<prometheus::Counter>& counters(const std::string& name, const char* help) {
    return family(prometheus::BuildCounter(), name, help);
  }
  prometheus::Counter& counter(const std::string& name, const char* help,
                               const prometheus::Labels& labels = {}) {
    return counters(name, help).Add(labels);
  }
  prometheus::Gauge& gauge(const std::string& name, const char* help,
                           const prometheus::Labels& labels = {}) {
    return family(prometheus::BuildGauge(), name, help).Add(labels);
  }
  prometheus::Histogram& histogram(const std::string& name, const char* help,
                                   const Buckets& buckets, const prometheus::Labels& labels = {}) {
    return family(prometheus::BuildHistogram(), name, help).Add(labels, buckets);
  }

  std::string text() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

 private:
  prometheus::Registry registry_;
};

// What was counted in each class since `seen`, for Histogram::ObserveMultiple: of `num_classes`,
// the last has all beyond it too.
inline std::vector<double> growth(std::span<const uint64_t> now, std::span<const uint64_t> seen,
                                  size_t num_classes) {
  std::vector<double> out(num_classes);
  for (size_t i = 0; i < now.size(); ++i)
    out[std::min(i, num_classes - 1)] += static_cast<double>(now[i] - seen[i]);
  return out;
}

}  // namespace millrace
