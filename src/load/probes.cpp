// Comparing answers.
#include "load/probes.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "load/answer.h"

namespace millrace {

Probes::Probes(std::vector<WorkItem> items) {
  for (WorkItem& item : items) probes_.push_back({.body = std::move(item.body)});
  report_.num_probes = probes_.size();
}

void Probes::answered(size_t index, const http::CallResult& result) {
  if (result.outcome != http::CallOutcome::kAnswered || result.response.status != 200) return;
  Probe& probe = probes_[index];
  probe.last = last_round_ && probe.first.has_value();
  std::string part;
  try {
    part = comparable_part(result.response.body);
  } catch (const Error&) {
    ++report_.num_compared;
    ++report_.num_different;
    return;
  }
  if (!probe.first) {
    probe.first = std::move(part);
    return;
  }
  ++report_.num_compared;
  report_.num_different += *probe.first == part ? 0 : 1;
}

void Probes::begin_last_round() {
  last_round_ = true;
}

std::vector<size_t> Probes::unanswered(bool patient) const {
  std::vector<size_t> indices;
  for (size_t i = 0; i < probes_.size() && patient; ++i) {
    if (!probes_[i].last) indices.push_back(i);
  }
  return indices;
}

CheckReport Probes::report() const {
  CheckReport report = report_;
  report.num_missing = static_cast<uint64_t>(
      std::ranges::count_if(probes_, [](const Probe& p) { return !p.first || !p.last; }));
  return report;
}

}  // namespace millrace
