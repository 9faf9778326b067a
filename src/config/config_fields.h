// The one table of what config.yaml may say: the reader, the flags and docs/config.md come from it.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "config/config_file.h"

namespace millrace {

enum class FieldType : uint8_t {
  kSection,  // a mapping whose keys are fields of this table
  kBoolean,  // true, false; yes, no, on, off with a warning
  kInteger,  // within min..max
  kNumber,   // within min..max
  kString,
  kWord,         // one of `words`
  kDevice,       // auto, cpu, cuda, cuda:1
  kAccelerator,  // H100, H100:4
  kCpu,          // 4, "1.5", 500m
  kMemory,       // 10Gi
  kStringList,
  kStringMap,  // keys of the user's own to plain values
  kAny,        // not looked into
};

enum class Support : uint8_t {
  kSupported,
  kAccepted,  // without effect here, and none is missed: `about` says why
  kIgnored,   // a warning: somebody may miss the effect
  kRefused,   // an error: not built yet, `missing` says what
};

// Which inference_stack knows the field.
enum class Stack : uint8_t { kBoth, kV1, kV2 };

// A checked value. `text` is always there, in canonical form ("true", "65536").
struct FieldValue {
  std::string text;
  int64_t integer = 0;
  double number = 0;
  bool boolean = false;
};

struct Field {
  std::string_view path;  // "trt_llm.build.max_batch_size"
  FieldType type = FieldType::kString;
  Support support = Support::kSupported;
  Stack stack = Stack::kBoth;
  bool required = false;        // when its section is there
  bool secret = false;          // the value is never shown
  std::string_view words = {};  // kWord: "no_quant|fp8"
  int64_t min = std::numeric_limits<int64_t>::min();
  int64_t max = std::numeric_limits<int64_t>::max();
  std::string_view fallback = {};  // the default, as YAML; empty: none
  std::string_view about;          // one sentence
  std::string_view missing = {};   // kRefused, kIgnored: one sentence
  void (*store)(ConfigFile& config, const FieldValue& value) = nullptr;

  std::string_view name() const;     // "max_batch_size"
  std::string_view section() const;  // "trt_llm.build"; empty at the top
};

// A value of a field that is understood and answered with a finding of its own.
struct SpecialValue {
  std::string_view path;
  std::string_view value;  // "decoder"
  std::string_view code;   // MR1401 not built (error), MR1403 no effect (warning), MR1316 renamed
  std::string_view message;
  std::string_view help;
};

std::span<const Field> config_fields();
const Field* find_field(std::string_view path);  // nullptr when there is none

std::span<const SpecialValue> special_values();
const SpecialValue* find_special_value(const Field& field, std::string_view value);

// The field's own, or kRefused when a section around it is refused.
Support effective_support(const Field& field);

}  // namespace millrace
