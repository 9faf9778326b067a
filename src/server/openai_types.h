// The OpenAI API's embeddings request and response: types in, JSON text in and out.
// Source: the types of the official clients; extras of TEI: truncate, truncation_direction,
// normalize.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/tokenizer.h"

namespace millrace {

enum class EncodingFormat : uint8_t { kFloat, kBase64 };

// A text, or token ids that go to the model as they are.
using EmbeddingInput = std::variant<std::string, std::vector<int32_t>>;

struct EmbeddingsRequest {
  std::vector<EmbeddingInput> inputs;  // 1..max_inputs, none empty
  std::string model;                   // may be empty
  EncodingFormat encoding_format = EncodingFormat::kFloat;
  std::optional<int64_t> dimensions;  // at least 1
  std::optional<bool> truncate;       // absent: the server's setting
  TruncationDirection truncation_direction = TruncationDirection::kRight;
  std::optional<bool> normalize;            // absent: as the model's own modules say
  std::vector<std::string> ignored_fields;  // unknown to us, for a response header
};

struct EmbeddingsLimits {
  size_t max_inputs = 128;
  int64_t vocab_size = 0;  // token ids are below it
};

// Throws RequestError for what the API refuses.
EmbeddingsRequest parse_embeddings_request(std::string_view body, const EmbeddingsLimits& limits);

// Writes a response piece by piece into one string.
class EmbeddingsResponseWriter {
 public:
  EmbeddingsResponseWriter(EncodingFormat format, size_t num_embeddings, size_t dimensions);

  void add(std::span<const float> embedding, bool truncated);  // in order of index
  std::string finish(std::string_view model, int64_t prompt_tokens);

 private:
  std::string out_;
  EncodingFormat format_;
  size_t index_ = 0;
};

}  // namespace millrace
