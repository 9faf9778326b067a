// The routes of sequence classifiers: /predict, /rerank, and /v1/rerank in the way of Cohere and
// Jina.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/strings.h"
#include "server/encoder_endpoints.h"
#include "server/inference.h"
#include "server/json_writer.h"
#include "server/rerank_types.h"
#include "server/service.h"
#include "server/tei_types.h"

namespace millrace {

namespace {

void require_classifier(const Service& service) {
  if (service.model().config.is_classifier()) return;
  throw RequestError(Refusal::kWrongModel,
                     fmt::format("{} is an embedding model and gives no scores; use /v1/embeddings",
                                 service.model_name()),
                     "model");
}

void require_reranker(const Service& service) {
  require_classifier(service);
  const size_t num_labels = service.model().config.labels.size();
  if (num_labels == 1) return;
  throw RequestError(Refusal::kWrongModel,
                     fmt::format("{} is a classifier of {} labels, not a reranker; use /predict",
                                 service.model_name(), num_labels),
                     "model");
}

float sigmoid(float logit) {
  return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logit))));
}

// One label: its sigmoid; several: their softmax. As TEI has it.
std::vector<float> probabilities(std::span<const float> logits) {
  if (logits.size() == 1) return {sigmoid(logits[0])};
  const float top = *std::ranges::max_element(logits);
  std::vector<double> powers;
  for (float logit : logits) powers.push_back(std::exp(static_cast<double>(logit) - top));
  const double sum = std::accumulate(powers.begin(), powers.end(), 0.0);
  std::vector<float> out;
  for (double power : powers) out.push_back(static_cast<float>(power / sum));
  return out;
}

// Indices by falling score; the first of equals stays first.
std::vector<size_t> ranking(std::span<const float> scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
}

// One score a row.
std::vector<float> scores_of(const RequestResult& result, bool raw) {
  std::vector<float> scores;
  for (size_t i = 0; i + 1 < result.first_row.size(); ++i)
    scores.push_back(raw ? result.row(i)[0] : sigmoid(result.row(i)[0]));
  return scores;
}

// [{"score": 0.9, "label": "positive"}, ...]
void append_prediction(std::string& out, std::span<const float> logits, bool raw,
                       const std::vector<std::string>& labels) {
  const std::vector<float> scores =
      raw ? std::vector<float>(logits.begin(), logits.end()) : probabilities(logits);
  out += '[';
  for (bool first = true; size_t index : ranking(scores)) {
    if (!std::exchange(first, false)) out += ',';
    out += R"({"score":)";
    append_float(out, scores[index]);
    out += R"(,"label":)";
    append_json_string(out, labels[index]);
    out += '}';
  }
  out += ']';
}

}  // namespace

void EncoderEndpoints::predict(const ExchangePtr& exchange) {
  require_classifier(service_);
  auto request = std::make_shared<PredictRequest>(
      parse_predict_request(exchange->request().body, service_.body_limits()));
  auto inference = std::make_shared<Inference>(*this, exchange, ModelTask::kPredict, request->text);
  for (const Input& input : request->inputs) inference->add(input, "inputs");
  inference->run(OutputKind::kSequence, [this, request](const RequestResult& result) {
    std::string out = request->batch ? "[" : "";
    for (size_t i = 0; i < request->inputs.size(); ++i) {
      if (i > 0) out += ',';
      append_prediction(out, result.row(i), request->raw_scores, service_.model().config.labels);
    }
    if (request->batch) out += ']';
    return with_ignored(http::json_response(200, std::move(out)), request->ignored_fields);
  });
}

void EncoderEndpoints::rerank(const ExchangePtr& exchange) {
  require_reranker(service_);
  auto request = std::make_shared<RerankRequest>(
      parse_rerank_request(exchange->request().body, service_.body_limits()));
  auto inference = std::make_shared<Inference>(*this, exchange, ModelTask::kPredict, request->text);
  for (const std::string& text : request->texts) inference->add_pair(request->query, text, "texts");
  inference->run(OutputKind::kSequence, [request](const RequestResult& result) {
    const std::vector<float> scores = scores_of(result, request->raw_scores);
    std::string out = "[";
    for (size_t index : ranking(scores)) {
      if (out.size() > 1) out += ',';
      out += fmt::format(R"({{"index":{})", index);
      if (request->return_text) {
        out += R"(,"text":)";
        append_json_string(out, request->texts[index]);
      }
      out += R"(,"score":)";
      append_float(out, scores[index]);
      out += '}';
    }
    return with_ignored(http::json_response(200, out + "]"), request->ignored_fields);
  });
}

void EncoderEndpoints::rerank_documents(const ExchangePtr& exchange) {
  require_reranker(service_);
  auto request = std::make_shared<RerankDocumentsRequest>(
      parse_rerank_documents_request(exchange->request().body, service_.body_limits()));
  auto inference = std::make_shared<Inference>(*this, exchange, ModelTask::kPredict, request->text);
  for (const std::string& document : request->documents)
    inference->add_pair(request->query, document, "documents");
  inference->run(OutputKind::kSequence, [this, request, id = exchange->request().id,
                                         &call = *inference](const RequestResult& result) {
    const std::vector<float> scores = scores_of(result, false);
    std::vector<size_t> order = ranking(scores);
    order.resize(std::min(order.size(), request->top_n.value_or(order.size())));
    return with_ignored(http::json_response(200, write_rerank_response(*request, order, scores,
                                                                       service_.model_name(), id,
                                                                       call.num_tokens())),
                        request->ignored_fields);
  });
}

}  // namespace millrace
