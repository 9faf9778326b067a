// Reading inputs and their options.
#include "server/input.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace millrace {

int64_t count_characters(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; });
}

std::string prompt_of(const ModelConfig& model, const std::optional<std::string>& prompt_name) {
  try {
    return model.prompt(prompt_name);
  } catch (const Error& error) {
    throw RequestError(Refusal::kInvalid, error.what(), "prompt_name");
  }
}

TextOptions read_text_options(BodyReader& body) {
  TextOptions options;
  options.truncate = body.boolean("truncate");
  options.truncation_direction =
      body.direction("truncation_direction").value_or(TruncationDirection::kRight);
  options.prompt_name = body.string("prompt_name");
  return options;
}

VectorOptions read_vector_options(BodyReader& body) {
  return {.dimensions = body.integer("dimensions", 1, std::numeric_limits<int32_t>::max()),
          .normalize = body.boolean("normalize")};
}

std::vector<Input> read_inputs(BodyReader& body, std::string_view name) {
  const BodyLimits& limits = body.limits();
  const auto refuse_form = [&] {
    refuse(fmt::format("{} must be a string, a list of strings, a list of token ids or a list of "
                       "such lists",
                       name),
           name);
  };
  const json::value& given = body.require(name);
  if (given.is_string()) return {std::string(given.get_string())};
  const auto* list = given.if_array();
  if (!list) refuse_form();
  if (list->empty()) {
    throw RequestError(Refusal::kEmpty, fmt::format("{} must not be empty", name),
                       std::string(name));
  }
  if (list->front().is_number()) return {read_token_ids(given, name, limits.vocab_size)};
  check_batch_size(list->size(), limits, name);
  std::vector<Input> inputs;
  inputs.reserve(list->size());
  const auto kind = list->front().kind();
  for (const json::value& element : *list) {
    if (element.kind() != kind) refuse_form();
    if (element.is_string()) {
      inputs.emplace_back(std::string(element.get_string()));
    } else if (element.is_array()) {
      inputs.emplace_back(read_token_ids(element, name, limits.vocab_size));
    } else {
      refuse_form();
    }
  }
  return inputs;
}

}  // namespace millrace
