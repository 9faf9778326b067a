// Parsing and writing of rerank requests over documents.
#include "server/rerank_types.h"

#include <fmt/format.h>

#include <limits>

#include "base/strings.h"
#include "server/json_writer.h"

namespace millrace {

namespace {

std::string read_document(const json::value& element) {
  if (element.is_string()) return std::string(element.get_string());
  if (const auto* object = element.if_object()) {
    const json::value* text = object->if_contains("text");
    if (text && text->is_string()) return std::string(text->get_string());
  }
  refuse("documents must hold strings or objects with the field text", "documents");
}

}  // namespace

RerankDocumentsRequest parse_rerank_documents_request(std::string_view text,
                                                      const BodyLimits& limits) {
  BodyReader body(text, limits);
  RerankDocumentsRequest request{.query = body.require_string("query")};
  const auto* documents = body.require("documents").if_array();
  if (!documents) refuse("documents must be a list", "documents");
  if (documents->empty())
    throw RequestError(Refusal::kEmpty, "documents must not be empty", "documents");
  check_batch_size(documents->size(), limits, "documents");
  for (const json::value& element : *documents) request.documents.push_back(read_document(element));
  if (const auto top_n = body.integer("top_n", 1, std::numeric_limits<int32_t>::max()))
    request.top_n = static_cast<size_t>(*top_n);
  request.return_documents = body.boolean("return_documents").value_or(false);
  request.text = read_text_options(body);
  body.string("model");
  request.ignored_fields = body.ignored();
  return request;
}

std::string write_rerank_response(const RerankDocumentsRequest& request,
                                  std::span<const size_t> order, std::span<const float> scores,
                                  std::string_view model, std::string_view id,
                                  int64_t total_tokens) {
  std::string out = R"({"id":)";
  append_json_string(out, id);
  out += R"(,"model":)";
  append_json_string(out, model);
  out += R"(,"results":[)";
  for (bool first = true; size_t index : order) {
    if (!std::exchange(first, false)) out += ',';
    out += fmt::format(R"({{"index":{},"relevance_score":)", index);
    append_float(out, scores[index]);
    if (request.return_documents) {
      out += R"(,"document":{"text":)";
      append_json_string(out, request.documents[index]);
      out += '}';
    }
    out += '}';
  }
  out += fmt::format(R"(],"usage":{{"total_tokens":{}}},)", total_tokens);
  return out + R"("meta":{"billed_units":{"search_units":1}}})";
}

}  // namespace millrace
