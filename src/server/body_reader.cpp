// Reading and refusing.
#include "server/body_reader.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace millrace {

namespace {

constexpr size_t kMaxParsedBytes = size_t{256} << 20;  // memory of one parsed body
constexpr size_t kMaxIgnored = 16;                     // fields named in a header

// Fields of the APIs that Millrace follows which change nothing here: no error, however strict.
constexpr std::string_view kWithoutEffect[] = {
    "early_stopping",
    "length_penalty",
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "spaces_between_special_tokens",
    "store",
    "user",
    "verbosity",
};

json::value parse_body(std::string_view body, int max_depth) {
  if (body.empty()) refuse("the body is empty; send a JSON object", "");
  try {
    return json::parse(
        body, "body",
        {.max_depth = max_depth, .max_bytes = body.size(), .max_memory = kMaxParsedBytes});
  } catch (const Error& error) {
    refuse(error.message(), "");
  }
}

// A header's value must stay one: names of unknown fields come from outside.
std::string header_safe(std::string_view name) {
  std::string out;
  for (char c : name.substr(0, 64)) out += (c > ' ' && c < 0x7f && c != ',') ? c : '?';
  return out;
}

}  // namespace

void refuse(const std::string& message, std::string_view param) {
  throw RequestError(Refusal::kInvalid, message, std::string(param));
}

void check_batch_size(size_t size, const BodyLimits& limits, std::string_view name) {
  if (size <= limits.max_inputs) return;
  refuse(fmt::format("{} has {} entries, the limit is {} per request; send several requests", name,
                     size, limits.max_inputs),
         name);
}

std::vector<int32_t> read_token_ids(const json::value& list, std::string_view name,
                                    int64_t vocab_size) {
  const auto* values = list.if_array();
  if (!values) refuse(fmt::format("{} must hold lists of token ids", name), name);
  if (values->empty()) refuse(fmt::format("{} must not hold an empty list", name), name);
  std::vector<int32_t> ids;
  ids.reserve(values->size());
  for (const json::value& element : *values) {
    const auto* id = element.if_int64();
    if (!id || *id < 0 || *id >= vocab_size) {
      refuse(fmt::format("token ids are integers from 0 to {} for this model", vocab_size - 1),
             name);
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

BodyReader::BodyReader(std::string_view body, const BodyLimits& limits)
    : body_(parse_body(body, limits.max_depth)), object_(body_.if_object()), limits_(limits) {
  if (!object_) refuse("the body must be a JSON object", "");
}

const json::value* BodyReader::find(std::string_view name) {
  asked_.emplace(name);
  const json::value* found = object_->if_contains(name);
  return found && !found->is_null() ? found : nullptr;
}

const json::value& BodyReader::require(std::string_view name) {
  if (const json::value* found = find(name)) return *found;
  refuse(fmt::format("{}{} is missing", prefix_, name), prefix_ + std::string(name));
}

std::optional<std::string> BodyReader::string(std::string_view name) {
  const json::value* found = find(name);
  if (!found) return std::nullopt;
  if (!found->is_string())
    refuse(fmt::format("{}{} must be a string", prefix_, name), prefix_ + std::string(name));
  return std::string(found->get_string());
}

std::string BodyReader::require_string(std::string_view name) {
  require(name);
  return *string(name);
}

std::vector<std::string> BodyReader::require_strings(std::string_view name) {
  const std::string field = prefix_ + std::string(name);
  const auto* list = require(name).if_array();
  if (!list) refuse(fmt::format("{} must be a list of strings", field), field);
  if (list->empty())
    throw RequestError(Refusal::kEmpty, fmt::format("{} must not be empty", field), field);
  check_batch_size(list->size(), limits_, field);
  std::vector<std::string> out;
  out.reserve(list->size());
  for (const json::value& element : *list) {
    if (!element.is_string()) refuse(fmt::format("{} must be a list of strings", field), field);
    out.emplace_back(element.get_string());
  }
  return out;
}

std::optional<bool> BodyReader::boolean(std::string_view name) {
  const json::value* found = find(name);
  if (!found) return std::nullopt;
  if (!found->is_bool())
    refuse(fmt::format("{}{} must be true or false", prefix_, name), prefix_ + std::string(name));
  return found->get_bool();
}

std::optional<int64_t> BodyReader::integer(std::string_view name, int64_t min, int64_t max) {
  const json::value* found = find(name);
  if (!found) return std::nullopt;
  const auto* value = found->if_int64();
  if (!value || *value < min || *value > max) {
    refuse(fmt::format("{}{} must be an integer from {} to {}", prefix_, name, min, max),
           prefix_ + std::string(name));
  }
  return *value;
}

std::optional<double> BodyReader::number(std::string_view name) {
  const json::value* found = find(name);
  if (!found) return std::nullopt;
  if (!found->is_number())
    refuse(fmt::format("{}{} must be a number", prefix_, name), prefix_ + std::string(name));
  return found->to_number<double>();
}

std::optional<TruncationDirection> BodyReader::direction(std::string_view name) {
  const std::optional<std::string> word = string(name);
  if (!word) return std::nullopt;
  if (*word == "Right" || *word == "right") return TruncationDirection::kRight;
  if (*word == "Left" || *word == "left") return TruncationDirection::kLeft;
  refuse(fmt::format("{}{} must be \"Right\" or \"Left\"", prefix_, name),
         prefix_ + std::string(name));
}

void BodyReader::enter(std::string_view name) {
  static const json::object kNothing;
  const json::value* found = find(name);
  if (found && !found->is_object())
    refuse(fmt::format("{}{} must be an object", prefix_, name), prefix_ + std::string(name));
  object_ = found ? &found->get_object() : &kNothing;
  prefix_ += std::string(name) + ".";
}

std::vector<std::string> BodyReader::ignored() const {
  std::vector<std::string> names;
  for (const auto& member : *object_) {
    if (names.size() == kMaxIgnored) break;
    if (!member.value().is_null() && !asked_.contains(std::string_view(member.key())))
      names.push_back(header_safe(member.key()));
  }
  if (!limits_.strict) return names;
  for (const std::string& name : names) {
    if (std::ranges::find(kWithoutEffect, name) == std::end(kWithoutEffect))
      refuse(fmt::format("{}{} is not a field of this request; leave it out, or serve without "
                         "strict_fields",
                         prefix_, name),
             prefix_ + name);
  }
  return names;
}

}  // namespace millrace
