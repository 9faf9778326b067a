// Rules and their calls.
#include "runtime/failure_injection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "ops/cuda_backend.h"

namespace millrace {

namespace {

constexpr const char* kVariable = "MILLRACE_FAIL";

constexpr std::array kPoints = {
    std::pair{std::string_view("alloc"), FailurePoint::kAlloc},
    std::pair{std::string_view("launch"), FailurePoint::kLaunch},
    std::pair{std::string_view("sample"), FailurePoint::kSample},
    std::pair{std::string_view("step"), FailurePoint::kStep},
    std::pair{std::string_view("device"), FailurePoint::kDevice},
};

[[noreturn]] void refuse(std::string_view rule) {
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("{} cannot be read at \"{}\"", kVariable, rule),
              "it takes POINT:every=N or POINT:at=N, several with commas between them; points are "
              "alloc, launch, sample, step and device");
}

std::string_view name_of(FailurePoint point) {
  return std::ranges::find(kPoints, point, [](const auto& known) { return known.second; })->first;
}

}  // namespace

FailureInjection::FailureInjection(std::string_view text) {
  while (!text.empty()) {
    const std::string_view rule = text.substr(0, text.find(','));
    text.remove_prefix(std::min(rule.size() + 1, text.size()));
    const size_t colon = rule.find(':');
    const size_t equals = rule.find('=');
    if (colon == std::string_view::npos || equals == std::string_view::npos || equals < colon)
      refuse(rule);
    const auto* point = std::ranges::find(kPoints, rule.substr(0, colon),
                                          [](const auto& known) { return known.first; });
    const std::string_view kind = rule.substr(colon + 1, equals - colon - 1);
    const std::string_view digits = rule.substr(equals + 1);
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    const bool is_number =
        error == std::errc() && end == digits.data() + digits.size() && number > 0;
    if (point == kPoints.end() || !is_number || (kind != "every" && kind != "at")) refuse(rule);
    rules_.push_back({.point = point->second,
                      .every = kind == "every" ? number : 0,
                      .once = kind == "at" ? number : 0});
  }
}

FailureInjection FailureInjection::from_environment() {
  const char* text = std::getenv(kVariable);
  if (!text || !*text) return {};
  FailureInjection injection{std::string_view(text)};
  log::warn("{}={}: STEPS WILL FAIL ON PURPOSE; unset it outside of tests", kVariable, text);
  return injection;
}

void FailureInjection::at(FailurePoint point) {
  bool fails = false;
  for (Rule& rule : rules_) {
    if (rule.point != point) continue;
    ++rule.num_calls;
    fails = fails || rule.num_calls == rule.once ||
            (rule.every > 0 && rule.num_calls % rule.every == 0);
  }
  if (!fails) return;
  const std::string message =
      fmt::format("a failure at {}, as {} asks for", name_of(point), kVariable);
  if (point == FailurePoint::kDevice)
    throw DeviceLost(ErrorCode::kUnavailable, message, "unset it outside of tests");
  throw Error(ErrorCode::kUnsupported, message, "unset it outside of tests");
}

}  // namespace millrace
