// Bytes as JSON: refused with an Error, or a value whose two written forms mean the same.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace json = millrace::json;

// Numbers beyond a double are read as infinity; who reads a number checks its range.
static bool is_finite(const json::value& v) {
  if (const double* number = v.if_double()) return std::isfinite(*number);
  if (const auto* array = v.if_array()) return std::all_of(array->begin(), array->end(), is_finite);
  if (const auto* object = v.if_object()) {
    return std::all_of(object->begin(), object->end(),
                       [](const auto& member) { return is_finite(member.value()); });
  }
  return true;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  json::value value;
  try {
    value = json::parse(text, "input");
  } catch (const millrace::Error&) {
    return 0;
  }
  if (!is_finite(value)) return 0;
  // Boost.JSON 1.81 may be off by one place in the last digit of a number it reads, so the texts
  // are compared with each other and not with the value.
  const json::value compact = json::parse(json::to_text(value), "compact text");
  const json::value pretty = json::parse(json::to_pretty_text(value), "pretty text");
  CHECK(compact == pretty);
  return 0;
}
