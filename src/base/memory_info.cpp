// /proc/meminfo, and the memory controller's files of both versions (Linux,
// Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
#include "base/memory_info.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace millrace {

namespace {

// Empty where there is no such file. Those of /proc and /sys have no size to ask for.
std::string text_of(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<int64_t> leading_number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() ? std::optional(number) : std::nullopt;  // "max" is no number
}

// What a control group still allows; no number where it sets no limit.
std::optional<int64_t> left_in_group(const char* limit_path, const char* usage_path) {
  const auto limit = leading_number(text_of(limit_path));
  const auto usage = leading_number(text_of(usage_path));
  if (!limit || !usage) return std::nullopt;
  return std::max<int64_t>(0, *limit - *usage);
}

}  // namespace

int64_t parse_available_memory(std::string_view meminfo) {
  constexpr std::string_view kName = "MemAvailable:";
  const size_t at = meminfo.find(kName);
  if (at == std::string_view::npos) return -1;
  meminfo.remove_prefix(at + kName.size());
  meminfo.remove_prefix(std::min(meminfo.find_first_not_of(' '), meminfo.size()));
  const auto kilobytes = leading_number(meminfo);
  return kilobytes ? *kilobytes * 1024 : -1;
}

int64_t available_memory_bytes() {
  int64_t available = std::max<int64_t>(0, parse_available_memory(text_of("/proc/meminfo")));
  // Inside a container the group of this process is the root of what it sees.
  for (const auto& left :
       {left_in_group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        left_in_group("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                      "/sys/fs/cgroup/memory/memory.usage_in_bytes")}) {
    if (left) available = std::min(available, *left);
  }
  return available;
}

}  // namespace millrace
