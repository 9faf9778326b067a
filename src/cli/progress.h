// Progress of long work: one live line on a terminal, plain lines elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace millrace {

class ProgressPrinter {
 public:
  ProgressPrinter();
  ~ProgressPrinter();  // ends a live line

  // `total` 0: a stage without a measure.
  void update(const std::string& stage, uint64_t done, uint64_t total);

 private:
  bool terminal_;
  std::string stage_;
  Clock::time_point printed_at_{};
  bool line_open_ = false;
};

std::string human_bytes(int64_t bytes);  // "86.7 MiB"
std::string human_count(int64_t count);  // "22.6 M"

}  // namespace millrace
