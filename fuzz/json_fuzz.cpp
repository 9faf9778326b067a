// Bytes as JSON: refused with an Error, or a value whose two written forms mean the same.
#include "base/error.h"
#include "base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace json = millrace::json;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  json::value value;
  try {
    value = json::parse(text, "input");
  } catch (const millrace::Error&) {
    return 0;
  }
  // Boost.JSON 1.81 may be off by one place in the last digit of a number it reads, so the texts
  // are compared with each other and not with the value.
  const json::value compact = json::parse(json::to_text(value), "compact text");
  const json::value pretty = json::parse(json::to_pretty_text(value), "pretty text");
  CHECK(compact == pretty);
  return 0;
}
