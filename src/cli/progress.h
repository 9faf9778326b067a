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

  // `total` 0: a stage without a measure. `detail`: what is in work just now, such as a file; it
  // may change within a stage.
  void update(const std::string& stage, uint64_t done, uint64_t total,
              const std::string& detail = {});

 private:
  bool terminal_;
  std::string stage_;
  uint64_t total_ = 0;
  Clock::time_point printed_at_{};
  Clock::time_point begun_at_{};  // of the stage
  uint64_t begun_with_ = 0;       // bytes that were done by then
  bool line_open_ = false;
};

std::string human_bytes(int64_t bytes);  // "86.7 MiB"
std::string human_count(int64_t count);  // "22.6 M"

}  // namespace millrace
