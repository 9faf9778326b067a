// What requests of every route hold: inputs, and how to treat their texts and vectors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/model_config.h"
#include "server/body_reader.h"

namespace millrace {

struct TextPair {
  std::string first;
  std::string second;
};

// A text, two texts that the model reads together, or token ids that go to it as they are.
using Input = std::variant<std::string, TextPair, std::vector<int32_t>>;

struct TextOptions {
  std::optional<bool> truncate;  // absent: the server's setting
  TruncationDirection truncation_direction = TruncationDirection::kRight;
  std::optional<std::string> prompt_name;  // a prompt of the model, put before each text
};

struct VectorOptions {
  std::optional<int64_t> dimensions;  // the first values only, normalized again
  std::optional<bool> normalize;      // absent: as the model's own modules say
};

int64_t count_characters(std::string_view text);  // code points of UTF-8

// The prompt that goes before each text. Throws RequestError for one that the model has not.
std::string prompt_of(const ModelConfig& model, const std::optional<std::string>& prompt_name);

TextOptions read_text_options(BodyReader& body);
VectorOptions read_vector_options(BodyReader& body);

// string | [string] | [int] | [[int]]: the four forms of the field `name`.
std::vector<Input> read_inputs(BodyReader& body, std::string_view name);

}  // namespace millrace
