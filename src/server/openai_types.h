// The OpenAI API's embeddings request and response: types in, JSON text in and out.
// Source: the types of the official clients; extras of TEI: truncate, truncation_direction,
// normalize, prompt_name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/input.h"

namespace millrace {

enum class EncodingFormat : uint8_t { kFloat, kBase64 };

struct EmbeddingsRequest {
  std::vector<Input> inputs;  // 1..max_inputs, none empty
  EncodingFormat encoding_format = EncodingFormat::kFloat;
  TextOptions text;
  VectorOptions vector;
  std::vector<std::string> ignored_fields;  // unknown to us, for a response header
};

// Throws RequestError for what the API refuses.
EmbeddingsRequest parse_embeddings_request(std::string_view body, const BodyLimits& limits);

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
