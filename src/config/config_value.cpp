// Scalars as YAML 1.1 reads them, since that is what Truss's reader speaks.
#include "config/config_value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "config/accelerator.h"
#include "config/nearest.h"

namespace millrace {

namespace {

constexpr std::array kYaml11True = {"yes", "Yes", "YES", "on", "On", "ON"};
constexpr std::array kYaml11False = {"no", "No", "NO", "off", "Off", "OFF"};
constexpr std::array kTrue = {"true", "True", "TRUE"};
constexpr std::array kFalse = {"false", "False", "FALSE"};

template <typename Words>
bool is_one_of(const Words& words, std::string_view text) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Decimal with an optional sign and underscores. YAML 1.1's octal, hexadecimal and base 60 are not
// numbers that anybody means in this file.
std::optional<int64_t> to_integer(std::string_view text) {
  std::string digits(text);
  std::erase(digits, '_');
  std::string_view rest = digits;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  const std::string_view magnitude = rest.starts_with('-') ? rest.substr(1) : rest;
  const bool is_octal = magnitude.size() > 1 && magnitude.front() == '0';
  if (magnitude.empty() || !is_digit(magnitude.front()) || is_octal || !is_digit(text.back())) {
    return std::nullopt;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error == std::errc::result_out_of_range) {
    return rest.starts_with('-') ? std::numeric_limits<int64_t>::min()
                                 : std::numeric_limits<int64_t>::max();
  }
  if (error != std::errc() || end != rest.data() + rest.size()) return std::nullopt;
  return value;
}

std::optional<double> to_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

// What YAML 1.1 takes an unquoted scalar for.
std::string_view yaml_type(std::string_view text) {
  if (is_one_of(kTrue, text) || is_one_of(kFalse, text) || is_one_of(kYaml11True, text) ||
      is_one_of(kYaml11False, text)) {
    return "a boolean";
  }
  if (to_integer(text)) return "an integer";
  if (to_number(text)) return "a number";
  return "a string";
}

ValueProblem wrong_type(const Field& field, std::string_view text, bool quoted) {
  return {
      .code = "MR1201",
      .message = fmt::format("`{}` must be {}, not {} `{}`", field.name(), describe_allowed(field),
                             quoted ? "the string" : yaml_type(text), printable(text))};
}

bool is_cpu(std::string_view text) {
  if (text.ends_with('m')) {
    const auto millis = to_integer(text.substr(0, text.size() - 1));
    return millis && *millis > 0;
  }
  const auto cores = to_number(text);
  return cores && *cores > 0;
}

bool is_memory(std::string_view text) {
  constexpr std::array kUnits = {"",   "k",  "M",  "G",  "T",  "P", "E",
                                 "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  const size_t unit = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto amount = to_number(text.substr(0, unit));
  return amount && *amount > 0 && is_one_of(kUnits, text.substr(unit));
}

bool is_device(std::string_view text) {
  if (text == "auto" || text == "cpu" || text == "cuda") return true;
  if (!text.starts_with("cuda:")) return false;
  const auto index = to_integer(text.substr(5));
  return index && *index >= 0 && *index < 1024 && is_digit(text[5]);
}

void check_form(const Field& field, std::string_view text, bool valid, CheckedValue& out) {
  if (valid) return;
  out.problem = ValueProblem{
      .code = "MR1204",
      .message = text.empty() ? fmt::format("`{}` is empty", field.name())
                              : fmt::format("`{}` cannot be `{}`", field.name(), printable(text)),
      .allowed = describe_allowed(field)};
}

void check_word(const Field& field, std::string_view text, CheckedValue& out) {
  const auto words = split_words(field.words);
  if (is_one_of(words, text) || find_special_value(field, text)) return;
  out.problem =
      ValueProblem{.code = "MR1202",
                   .message = fmt::format("`{}` cannot be `{}`", field.name(), printable(text)),
                   .allowed = describe_allowed(field)};
  const std::string_view near = nearest(text, words);
  if (!near.empty()) out.problem->help = fmt::format("did you mean `{}`?", near);
}

void check_accelerator(const Field& field, std::string_view text, CheckedValue& out) {
  if (text.empty() || parse_accelerator(text)) return;
  const std::string_view name = text.substr(0, text.find(':'));
  if (name != text && parse_accelerator(name)) {
    out.problem = ValueProblem{.code = "MR1206",
                               .message = fmt::format("`{}` is no count of accelerators",
                                                      printable(text.substr(name.size() + 1))),
                               .allowed = "a positive integer after the colon",
                               .help = fmt::format("write `{}: {}:1`", field.name(), name)};
    return;
  }
  out.problem = ValueProblem{.code = "MR1206",
                             .message = fmt::format("unknown accelerator `{}`", printable(name)),
                             .allowed = accelerator_names()};
  std::vector<std::string_view> names;
  for (const Accelerator& accelerator : accelerators()) names.push_back(accelerator.name);
  const std::string_view near = nearest(name, names);
  if (!near.empty()) out.problem->help = fmt::format("did you mean `{}`?", near);
}

void check_boolean(const Field& field, std::string_view text, bool quoted, CheckedValue& out) {
  const bool yaml11 = is_one_of(kYaml11True, text) || is_one_of(kYaml11False, text);
  if (quoted || !(yaml11 || is_one_of(kTrue, text) || is_one_of(kFalse, text))) {
    out.problem = wrong_type(field, text, quoted);
    return;
  }
  out.yaml11_boolean = yaml11;
  out.value.boolean = is_one_of(kTrue, text) || is_one_of(kYaml11True, text);
  out.value.text = out.value.boolean ? "true" : "false";
}

void check_number(const Field& field, std::string_view text, bool quoted, CheckedValue& out) {
  const auto integer = to_integer(text);
  const auto number = integer ? std::optional(static_cast<double>(*integer)) : to_number(text);
  const bool typed = field.type == FieldType::kInteger ? integer.has_value() : number.has_value();
  if (quoted || !typed) {
    out.problem = wrong_type(field, text, quoted);
    constexpr double kExact = 9007199254740992;  // 2^53
    if (quoted && typed) {
      out.problem->help = "remove the quotes";
    } else if (number && std::abs(*number) < kExact && std::trunc(*number) == *number) {
      out.problem->help = fmt::format("write {}", static_cast<int64_t>(*number));
    }
    return;
  }
  out.value.integer = integer.value_or(0);
  out.value.number = number.value_or(0);
  out.value.text = integer ? std::to_string(*integer) : std::string(text);
  const bool inside = integer ? *integer >= field.min && *integer <= field.max
                              : out.value.number >= static_cast<double>(field.min) &&
                                    out.value.number <= static_cast<double>(field.max);
  if (!inside) {
    out.problem = ValueProblem{
        .code = "MR1203",
        .message = fmt::format("`{}` is {}, which is out of range", field.name(), printable(text)),
        .allowed = describe_allowed(field)};
  }
}

void check_text(const Field& field, std::string_view text, bool quoted, CheckedValue& out) {
  if (!quoted && yaml_type(text) != "a string") {
    out.problem = wrong_type(field, text, quoted);
    out.problem->help = fmt::format("write it in quotes: \"{}\"", printable(text));
  } else if (field.required && text.empty()) {
    check_form(field, text, false, out);
  }
}

}  // namespace

CheckedValue check_value(const Field& field, std::string_view text, bool quoted) {
  CheckedValue out{.value = {.text = std::string(text)}};
  switch (field.type) {
    case FieldType::kBoolean: check_boolean(field, text, quoted, out); break;
    case FieldType::kInteger:
    case FieldType::kNumber: check_number(field, text, quoted, out); break;
    case FieldType::kString: check_text(field, text, quoted, out); break;
    case FieldType::kWord: check_word(field, text, out); break;
    case FieldType::kDevice: check_form(field, text, is_device(text), out); break;
    case FieldType::kCpu: check_form(field, text, is_cpu(text), out); break;
    case FieldType::kMemory: check_form(field, text, is_memory(text), out); break;
    case FieldType::kAccelerator: check_accelerator(field, text, out); break;
    case FieldType::kSection:
    case FieldType::kStringList:
    case FieldType::kStringMap: out.problem = wrong_type(field, text, quoted); break;
    case FieldType::kAny: break;
  }
  return out;
}

CheckedValue check_flag_value(const Field& field, std::string_view text) {
  return check_value(field, text, field.type == FieldType::kString);
}

std::string describe_allowed(const Field& field) {
  switch (field.type) {
    case FieldType::kSection: return "a mapping";
    case FieldType::kBoolean: return "true or false";
    case FieldType::kInteger:
    case FieldType::kNumber: {
      const auto noun = field.type == FieldType::kInteger ? "an integer" : "a number";
      const bool low = field.min > std::numeric_limits<int64_t>::min();
      const bool high = field.max < std::numeric_limits<int32_t>::max();
      if (low && high && field.min == field.max) return fmt::format("{}", field.min);
      if (low && high) return fmt::format("{} in {}..{}", noun, field.min, field.max);
      return low ? fmt::format("{} of at least {}", noun, field.min) : noun;
    }
    case FieldType::kString: return field.required ? "a string that is not empty" : "a string";
    case FieldType::kWord: return fmt::format("{}", fmt::join(split_words(field.words), ", "));
    case FieldType::kDevice: return "auto, cpu, cuda, or cuda:n";
    case FieldType::kAccelerator: return "the name of an accelerator, with a count after a colon";
    case FieldType::kCpu: return "a number of cores (4, 1.5) or of thousandths (500m)";
    case FieldType::kMemory:
      return "a number with a unit: k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, or none for bytes";
    case FieldType::kStringList: return "a list of strings";
    case FieldType::kStringMap: return "a mapping of names to strings";
    case FieldType::kAny: return "anything";
  }
  return {};
}

std::vector<std::string_view> split_words(std::string_view words) {
  std::vector<std::string_view> out;
  while (!words.empty()) {
    const size_t bar = std::min(words.find('|'), words.size());
    out.push_back(words.substr(0, bar));
    words.remove_prefix(std::min(words.size(), bar + 1));
  }
  return out;
}

}  // namespace millrace
