// The requests of text-embeddings-inference's routes, and their answers.
// Source: TEI's router schema (docs/openapi.json of 1.9).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/input.h"

namespace millrace {

// POST /embed, /embed_all.
struct EmbedRequest {
  std::vector<Input> inputs;
  TextOptions text;
  VectorOptions vector;  // /embed only; normalize is true when the request does not say
  std::vector<std::string> ignored_fields;
};

// POST /similarity.
struct SimilarityRequest {
  std::string source_sentence;
  std::vector<std::string> sentences;
  TextOptions text;
  std::vector<std::string> ignored_fields;
};

// POST /rerank.
struct RerankRequest {
  std::string query;
  std::vector<std::string> texts;
  TextOptions text;
  bool raw_scores = false;   // logits instead of probabilities
  bool return_text = false;  // texts come back beside their scores
  std::vector<std::string> ignored_fields;
};

// POST /predict.
struct PredictRequest {
  std::vector<Input> inputs;  // texts and pairs
  bool batch = false;         // the answer is a list of lists
  TextOptions text;
  bool raw_scores = false;
  std::vector<std::string> ignored_fields;
};

// POST /tokenize.
struct TeiTokenizeRequest {
  std::vector<std::string> inputs;
  bool add_special_tokens = true;
  TextOptions text;  // prompt_name only
  std::vector<std::string> ignored_fields;
};

// POST /decode.
struct TeiDecodeRequest {
  std::vector<std::vector<int32_t>> ids;
  bool skip_special_tokens = true;
  std::vector<std::string> ignored_fields;
};

EmbedRequest parse_embed_request(std::string_view body, const BodyLimits& limits);
EmbedRequest parse_embed_all_request(std::string_view body, const BodyLimits& limits);
SimilarityRequest parse_similarity_request(std::string_view body, const BodyLimits& limits);
RerankRequest parse_rerank_request(std::string_view body, const BodyLimits& limits);
PredictRequest parse_predict_request(std::string_view body, const BodyLimits& limits);
TeiTokenizeRequest parse_tokenize_request(std::string_view body, const BodyLimits& limits);
TeiDecodeRequest parse_decode_request(std::string_view body, const BodyLimits& limits);

}  // namespace millrace
