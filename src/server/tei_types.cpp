// Parsing of TEI's requests.
#include "server/tei_types.h"

#include <fmt/format.h>

namespace millrace {

namespace {

constexpr std::string_view kPredictForms =
    "inputs must be a string, a pair of strings, or a batch [[string], [string, string], ...]";

// A list of one text or of two.
Input read_text_or_pair(const json::array& list) {
  for (const json::value& element : list) {
    if (!element.is_string()) refuse(std::string(kPredictForms), "inputs");
  }
  if (list.size() == 1) return std::string(list[0].get_string());
  if (list.size() == 2)
    return TextPair{std::string(list[0].get_string()), std::string(list[1].get_string())};
  refuse(std::string(kPredictForms), "inputs");
}

void read_predict_inputs(BodyReader& body, PredictRequest& request) {
  const json::value& inputs = body.require("inputs");
  if (inputs.is_string()) {
    request.inputs.emplace_back(std::string(inputs.get_string()));
    return;
  }
  const auto* list = inputs.if_array();
  if (!list) refuse(std::string(kPredictForms), "inputs");
  if (list->empty()) throw RequestError(Refusal::kEmpty, "inputs must not be empty", "inputs");
  if (list->front().is_string()) {
    request.inputs.push_back(read_text_or_pair(*list));
    return;
  }
  request.batch = true;
  check_batch_size(list->size(), body.limits(), "inputs");
  for (const json::value& element : *list) {
    if (!element.is_array()) refuse(std::string(kPredictForms), "inputs");
    request.inputs.push_back(read_text_or_pair(element.get_array()));
  }
}

// string | [string].
std::vector<std::string> read_tei_texts(BodyReader& body, std::string_view name) {
  const json::value& given = body.require(name);
  if (given.is_string()) return {std::string(given.get_string())};
  return body.require_strings(name);
}

}  // namespace

EmbedRequest parse_embed_request(std::string_view text, const BodyLimits& limits) {
  BodyReader body(text, limits);
  EmbedRequest request{.inputs = read_inputs(body, "inputs"),
                       .text = read_text_options(body),
                       .vector = read_vector_options(body)};
  request.vector.normalize = request.vector.normalize.value_or(true);
  request.ignored_fields = body.ignored();
  return request;
}

EmbedRequest parse_embed_all_request(std::string_view text, const BodyLimits& limits) {
  BodyReader body(text, limits);
  EmbedRequest request{.inputs = read_inputs(body, "inputs"), .text = read_text_options(body)};
  request.ignored_fields = body.ignored();
  return request;
}

SimilarityRequest parse_similarity_request(std::string_view text, const BodyLimits& limits) {
  BodyReader inputs(text, limits);
  inputs.find("parameters");
  inputs.require("inputs");
  SimilarityRequest request{.ignored_fields = inputs.ignored()};
  inputs.enter("inputs");
  request.source_sentence = inputs.require_string("source_sentence");
  request.sentences = inputs.require_strings("sentences");
  check_batch_size(request.sentences.size() + 1, limits, "inputs");  // the source counts
  BodyReader parameters(text, limits);
  parameters.enter("parameters");
  request.text = read_text_options(parameters);
  return request;
}

RerankRequest parse_rerank_request(std::string_view text, const BodyLimits& limits) {
  BodyReader body(text, limits);
  RerankRequest request{.query = body.require_string("query"),
                        .texts = body.require_strings("texts"),
                        .text = read_text_options(body),
                        .raw_scores = body.boolean("raw_scores").value_or(false),
                        .return_text = body.boolean("return_text").value_or(false)};
  body.string("model");
  request.ignored_fields = body.ignored();
  return request;
}

PredictRequest parse_predict_request(std::string_view text, const BodyLimits& limits) {
  BodyReader body(text, limits);
  PredictRequest request;
  read_predict_inputs(body, request);
  request.text = read_text_options(body);
  request.raw_scores = body.boolean("raw_scores").value_or(false);
  body.string("model");
  request.ignored_fields = body.ignored();
  return request;
}

TeiTokenizeRequest parse_tokenize_request(std::string_view text, const BodyLimits& limits) {
  BodyReader body(text, limits);
  TeiTokenizeRequest request{
      .inputs = read_tei_texts(body, "inputs"),
      .add_special_tokens = body.boolean("add_special_tokens").value_or(true)};
  request.text.prompt_name = body.string("prompt_name");
  request.ignored_fields = body.ignored();
  return request;
}

TeiDecodeRequest parse_decode_request(std::string_view text, const BodyLimits& limits) {
  BodyReader body(text, limits);
  const json::value& given = body.require("ids");
  const auto* list = given.if_array();
  if (!list) refuse("ids must be a list of token ids or a list of such lists", "ids");
  if (list->empty()) throw RequestError(Refusal::kEmpty, "ids must not be empty", "ids");
  TeiDecodeRequest request;
  if (list->front().is_array()) {
    check_batch_size(list->size(), limits, "ids");
    for (const json::value& ids : *list)
      request.ids.push_back(read_token_ids(ids, "ids", limits.vocab_size));
  } else {
    request.ids.push_back(read_token_ids(given, "ids", limits.vocab_size));
  }
  request.skip_special_tokens = body.boolean("skip_special_tokens").value_or(true);
  request.ignored_fields = body.ignored();
  return request;
}

}  // namespace millrace
