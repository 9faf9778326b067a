// The routes of embedding models: /v1/embeddings, /embed, /embed_all, /similarity.
#include <algorithm>
#include <cmath>

#include "server/encoder_endpoints.h"
#include "server/inference.h"
#include "server/json_writer.h"
#include "server/openai_types.h"
#include "server/service.h"
#include "server/tei_types.h"

namespace millrace {

namespace {

void require_embedder(const Service& service) {
  if (!service.model().config.is_classifier()) return;
  throw RequestError(
      Refusal::kWrongModel,
      fmt::format("{} is a classifier and gives no embeddings; use /predict", service.model_name()),
      "model");
}

// What this model can make of its vectors.
void check_vector_options(const VectorOptions& options, const ModelConfig& model) {
  if (options.dimensions.value_or(1) > model.hidden_size) {
    refuse(fmt::format("dimensions is {}, this model's vectors have {}", *options.dimensions,
                       model.hidden_size),
           "dimensions");
  }
  if (model.normalize && !options.normalize.value_or(true))
    refuse("this model normalizes its vectors itself; normalize: false is not possible",
           "normalize");
}

void normalize(std::vector<float>& vector) {
  double sum = 0;
  for (float value : vector) sum += static_cast<double>(value) * value;
  const auto scale = static_cast<float>(1.0 / std::max(std::sqrt(sum), 1e-12));
  for (float& value : vector) value *= scale;
}

// Calls `use` with the vector of each input as the options want it.
template <typename Use>
void for_each_vector(const RequestResult& result, const VectorOptions& options, size_t num_vectors,
                     const Use& use) {
  const auto dimensions = static_cast<size_t>(options.dimensions.value_or(result.width));
  // What is left of a vector that was cut has another length; Matryoshka models compare directions.
  const bool normalized = options.normalize.value_or(false) || options.dimensions.has_value();
  std::vector<float> vector;
  for (size_t i = 0; i < num_vectors; ++i) {
    const auto row = result.row(i).first(dimensions);
    if (!normalized) {
      use(i, row);
      continue;
    }
    vector.assign(row.begin(), row.end());
    normalize(vector);
    use(i, std::span<const float>(vector));
  }
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return dot / std::max(std::sqrt(aa) * std::sqrt(bb), 1e-12);
}

}  // namespace

void EncoderEndpoints::embeddings(const ExchangePtr& exchange) {
  require_embedder(service_);
  auto request = std::make_shared<EmbeddingsRequest>(
      parse_embeddings_request(exchange->request().body, service_.body_limits()));
  check_vector_options(request->vector, service_.model().config);
  auto inference = std::make_shared<Inference>(*this, exchange, ModelTask::kEmbed, request->text);
  for (const Input& input : request->inputs) inference->add(input, "input");
  request->inputs.clear();
  inference->run(
      OutputKind::kSequence, [this, request, &call = *inference](const RequestResult& result) {
        const auto width = static_cast<size_t>(request->vector.dimensions.value_or(result.width));
        EmbeddingsResponseWriter writer(request->encoding_format, call.num_inputs(), width);
        for_each_vector(result, request->vector, call.num_inputs(),
                        [&](size_t i, auto vector) { writer.add(vector, call.truncated()[i]); });
        return with_ignored(
            http::json_response(200, writer.finish(service_.model_name(), call.num_tokens())),
            request->ignored_fields);
      });
}

void EncoderEndpoints::embed(const ExchangePtr& exchange) {
  require_embedder(service_);
  auto request = std::make_shared<EmbedRequest>(
      parse_embed_request(exchange->request().body, service_.body_limits()));
  check_vector_options(request->vector, service_.model().config);
  auto inference = std::make_shared<Inference>(*this, exchange, ModelTask::kEmbed, request->text);
  for (const Input& input : request->inputs) inference->add(input, "inputs");
  request->inputs.clear();
  inference->run(OutputKind::kSequence, [request, &call = *inference](const RequestResult& result) {
    std::string out = "[";
    for_each_vector(result, request->vector, call.num_inputs(), [&](size_t i, auto vector) {
      if (i > 0) out += ',';
      append_floats(out, vector);
    });
    return with_ignored(http::json_response(200, out + "]"), request->ignored_fields);
  });
}

void EncoderEndpoints::embed_all(const ExchangePtr& exchange) {
  require_embedder(service_);
  const EmbedRequest request =
      parse_embed_all_request(exchange->request().body, service_.body_limits());
  auto inference = std::make_shared<Inference>(*this, exchange, ModelTask::kEmbed, request.text);
  for (const Input& input : request.inputs) inference->add(input, "inputs");
  inference->run(OutputKind::kTokens,
                 [ignored = request.ignored_fields](const RequestResult& result) {
                   std::string out = "[";
                   for (size_t i = 0; i + 1 < result.first_row.size(); ++i) {
                     out += i > 0 ? ",[" : "[";
                     for (size_t row = result.first_row[i]; row < result.first_row[i + 1]; ++row) {
                       if (row > result.first_row[i]) out += ',';
                       append_floats(out, result.row(row));
                     }
                     out += ']';
                   }
                   return with_ignored(http::json_response(200, out + "]"), ignored);
                 });
}

void EncoderEndpoints::similarity(const ExchangePtr& exchange) {
  require_embedder(service_);
  const SimilarityRequest request =
      parse_similarity_request(exchange->request().body, service_.body_limits());
  auto inference = std::make_shared<Inference>(*this, exchange, ModelTask::kEmbed, request.text);
  inference->add(request.source_sentence, "inputs.source_sentence");
  for (const std::string& sentence : request.sentences)
    inference->add(sentence, "inputs.sentences");
  inference->run(OutputKind::kSequence, [ignored = request.ignored_fields,
                                         &call = *inference](const RequestResult& result) {
    std::string out = "[";
    for (size_t i = 1; i < call.num_inputs(); ++i) {
      if (i > 1) out += ',';
      append_float(out, static_cast<float>(cosine(result.row(0), result.row(i))));
    }
    return with_ignored(http::json_response(200, out + "]"), ignored);
  });
}

}  // namespace millrace
