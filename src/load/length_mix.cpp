// Parsing and drawing lengths.
#include "load/length_mix.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace millrace {

namespace {

constexpr int kMaxLength = 100'000;
constexpr double kMaxWeight = 1e9;

template <typename Number>
bool parse_number(std::string_view text, Number& out) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc{} && end == text.data() + text.size();
}

}  // namespace

LengthMix::LengthMix(std::string_view text) : text_(text) {
  const auto require = [&](bool condition) {
    if (condition) return;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\" is no mix of lengths (1 to {} tokens)", text, kMaxLength),
                "write 5, 5-510, or ranges with weights such as 5:9,200-510:1");
  };
  while (true) {
    const size_t comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    Range range;
    if (const size_t colon = part.find(':'); colon != std::string_view::npos) {
      require(parse_number(part.substr(colon + 1), range.weight) && range.weight > 0 &&
              range.weight <= kMaxWeight);
      part = part.substr(0, colon);
    }
    const size_t dash = std::min(part.find('-'), part.size());
    require(parse_number(part.substr(0, dash), range.first));
    range.last = range.first;
    if (dash < part.size()) require(parse_number(part.substr(dash + 1), range.last));
    require(1 <= range.first && range.first <= range.last && range.last <= kMaxLength);
    ranges_.push_back(range);
    if (comma == text.size()) break;
    text.remove_prefix(comma + 1);
  }
}

int LengthMix::draw(std::mt19937_64& random) const {
  double total = 0;
  for (const Range& range : ranges_) total += range.weight;
  double left = std::uniform_real_distribution<double>(0, total)(random);
  const Range* chosen = &ranges_.back();
  for (const Range& range : ranges_) {
    left -= range.weight;
    if (left < 0) {
      chosen = &range;
      break;
    }
  }
  return std::uniform_int_distribution<int>(chosen->first, chosen->last)(random);
}

std::vector<int> LengthMix::spread(size_t count) const {
  std::vector<int> ends;
  for (const Range& range : ranges_) {
    ends.push_back(range.first);
    ends.push_back(range.last);
  }
  std::ranges::sort(ends);
  std::vector<int> lengths;
  for (size_t i = 0; i < count; ++i) {
    const double at = count == 1 ? 0
                                 : static_cast<double>(i) * static_cast<double>(ends.size() - 1) /
                                       static_cast<double>(count - 1);
    const auto before = static_cast<size_t>(at);
    const size_t after = std::min(before + 1, ends.size() - 1);
    const double part = at - static_cast<double>(before);
    lengths.push_back(
        static_cast<int>(std::lround(ends[before] * (1 - part) + ends[after] * part)));
  }
  return lengths;
}

int LengthMix::min() const {
  return std::ranges::min(ranges_, {}, &Range::first).first;
}

int LengthMix::max() const {
  return std::ranges::max(ranges_, {}, &Range::last).last;
}

}  // namespace millrace
