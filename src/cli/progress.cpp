// Progress lines and human numbers.
#include "cli/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>

namespace millrace {

namespace {

std::string scaled(double value, double base, const std::array<const char*, 5>& units) {
  size_t unit = 0;
  while (value >= base && unit + 1 < units.size()) {
    value /= base;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}{}", static_cast<int64_t>(value), units[0])
                   : fmt::format("{:.1f}{}", value, units[unit]);
}

}  // namespace

std::string human_bytes(int64_t bytes) {
  return scaled(static_cast<double>(bytes), 1024, {" B", " KiB", " MiB", " GiB", " TiB"});
}

std::string human_count(int64_t count) {
  return scaled(static_cast<double>(count), 1000, {"", " K", " M", " G", " T"});
}

ProgressPrinter::ProgressPrinter() : terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressPrinter::~ProgressPrinter() {
  if (line_open_) fmt::print(stderr, "\n");
}

void ProgressPrinter::update(const std::string& stage, uint64_t done, uint64_t total,
                             const std::string& detail) {
  constexpr auto kTerminalPause = std::chrono::milliseconds(100);
  constexpr auto kPlainPause = std::chrono::seconds(10);
  constexpr double kMinRateSeconds = 0.5;  // a rate over less says nothing
  const auto now = Clock::now();
  const bool new_stage = stage != stage_ || total != total_;
  const bool finished = total > 0 && done == total;
  const auto pause = terminal_ ? Clock::duration(kTerminalPause) : Clock::duration(kPlainPause);
  if (!new_stage && !finished && now - printed_at_ < pause) return;
  if (new_stage) {
    if (line_open_) fmt::print(stderr, "\n");
    line_open_ = false;
    stage_ = stage;
    total_ = total;
    begun_at_ = now;
    begun_with_ = done;
  }
  printed_at_ = now;
  std::string line = stage;
  if (total > 0) {
    line += fmt::format("  {} of {} ({} %)", human_bytes(static_cast<int64_t>(done)),
                        human_bytes(static_cast<int64_t>(total)), 100 * done / total);
    const double elapsed = seconds(now - begun_at_);
    if (elapsed >= kMinRateSeconds) {
      const double rate = static_cast<double>(done - begun_with_) / elapsed;
      line += fmt::format(", {}/s", human_bytes(static_cast<int64_t>(rate)));
    }
  }
  if (!detail.empty() && !finished) line += "  " + detail;
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K{}", line);
    line_open_ = true;
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
}

}  // namespace millrace
