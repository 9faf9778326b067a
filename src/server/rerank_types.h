// POST /v1/rerank and /v2/rerank: one request for the clients of Cohere and of Jina, and an answer
// that both can read.
// Sources: Cohere's v2 and Jina's rerank APIs.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/input.h"

namespace millrace {

struct RerankDocumentsRequest {
  std::string query;
  std::vector<std::string> documents;  // each a string, or {"text": ...}
  std::optional<size_t> top_n;         // results in the answer; absent: all
  bool return_documents = false;
  TextOptions text;
  std::vector<std::string> ignored_fields;
};

RerankDocumentsRequest parse_rerank_documents_request(std::string_view body,
                                                      const BodyLimits& limits);

// `order`: indices of documents, best first; `scores` by document.
std::string write_rerank_response(const RerankDocumentsRequest& request,
                                  std::span<const size_t> order, std::span<const float> scores,
                                  std::string_view model, std::string_view id,
                                  int64_t total_tokens);

}  // namespace millrace
