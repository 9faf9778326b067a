// Inputs that are sent again and again while a load runs: their answers must not change.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "http/async_client.h"
#include "load/report.h"
#include "load/workload.h"

namespace millrace {

class Probes {
 public:
  explicit Probes(std::vector<WorkItem> items);

  size_t size() const { return probes_.size(); }
  const std::string& body(size_t index) const { return probes_[index].body; }

  // Keeps the first good answer of a probe and compares later ones with it. Refusals and failures
  // are no answers; an answer that cannot be read counts as different.
  void answered(size_t index, const http::CallResult& result);

  void begin_last_round();  // from now on each probe needs one more answer

  // Probes that still need theirs, to be sent again; none when `patient` is false.
  std::vector<size_t> unanswered(bool patient) const;

  CheckReport report() const;

 private:
  struct Probe {
    std::string body;
    std::optional<std::string> first;  // the part of the answer that must not change
    bool last = false;                 // the last round's answer is there
  };

  std::vector<Probe> probes_;
  bool last_round_ = false;
  CheckReport report_;
};

}  // namespace millrace
