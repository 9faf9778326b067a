// One scalar against one row of the field table: typed, ranged and worded, or a finding.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config_fields.h"

namespace millrace {

// What is wrong with a value, before anybody knows where it stands.
struct ValueProblem {
  std::string_view code;
  std::string message;
  std::string allowed = {};
  std::string help = {};
};

struct CheckedValue {
  FieldValue value;
  std::optional<ValueProblem> problem;
  bool yaml11_boolean = false;  // yes, no, on or off stood for a boolean
};

// `quoted` text is never a number or a boolean. Flags pass false: they are typed by the field.
CheckedValue check_value(const Field& field, std::string_view text, bool quoted);

// The same for a word of the command line, which is text wherever the field is.
CheckedValue check_flag_value(const Field& field, std::string_view text);

// "an integer in 1..2048", "`v1` or `v2`": what the field takes, for messages and for the page.
std::string describe_allowed(const Field& field);

// The alternatives of "a|b|c".
std::vector<std::string_view> split_words(std::string_view words);

}  // namespace millrace
