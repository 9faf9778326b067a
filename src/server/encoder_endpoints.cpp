// The table of an encoder's routes, and what the server asks of it.
#include "server/encoder_endpoints.h"

#include <future>

#include "server/paths.h"
#include "server/service.h"
#include "server/token_routes.h"

namespace millrace {

namespace {

constexpr int64_t kBytesPerToken = 4;  // of a body, about: what it will cost before it is read

// TEI's name for what the model is, with what its clients need to read answers.
json::object model_type(const ModelConfig& config) {
  if (!config.is_classifier())
    return {{"embedding", json::object{{"pooling", to_string(config.pooling)}}}};
  json::object id2label, label2id;
  for (size_t i = 0; i < config.labels.size(); ++i) {
    id2label[std::to_string(i)] = config.labels[i];
    label2id[config.labels[i]] = i;
  }
  return {{config.labels.size() == 1 ? "reranker" : "classifier",
           json::object{{"id2label", std::move(id2label)}, {"label2id", std::move(label2id)}}}};
}

}  // namespace

EncoderEndpoints::EncoderEndpoints(Service& service, std::unique_ptr<ModelRunner> runner,
                                   std::function<void()> on_lost)
    : service_(service),
      metrics_(service.model().plan.limits.max_seq_len),
      engine_(std::move(runner), service.model().plan.limits, std::move(on_lost)) {}

const std::vector<EncoderEndpoints::Entry>& EncoderEndpoints::table() {
  constexpr bool kComputes = true;
  static const std::vector<Entry> table = {
      {"/v1/embeddings", &EncoderEndpoints::embeddings},
      {"/embeddings", &EncoderEndpoints::embeddings},
      {"/embed", &EncoderEndpoints::embed},
      {"/embed_all", &EncoderEndpoints::embed_all},
      {"/similarity", &EncoderEndpoints::similarity},
      {"/rerank", &EncoderEndpoints::rerank},
      {"/v1/rerank", &EncoderEndpoints::rerank_documents},
      {"/v2/rerank", &EncoderEndpoints::rerank_documents},
      {"/predict", &EncoderEndpoints::predict},
      {"/tokenize", &EncoderEndpoints::tokenize, !kComputes},
      {"/embed_sparse", &EncoderEndpoints::not_built, !kComputes},
      {"/predict_tokens", &EncoderEndpoints::not_built, !kComputes},
  };
  return table;
}

std::vector<std::string> EncoderEndpoints::paths() {
  return paths_of(table());
}

std::vector<Route> EncoderEndpoints::routes() {
  return routes_of(table(), *this);
}

// The main route of this kind of model.
std::string EncoderEndpoints::default_route() const {
  const ModelConfig& config = service_.model().config;
  if (!config.is_classifier()) return "/v1/embeddings";
  return config.labels.size() == 1 ? "/rerank" : "/predict";
}

ErrorStyle EncoderEndpoints::error_style(std::string_view path) const {
  return millrace::error_style(path);
}

void EncoderEndpoints::warm_up() {
  const std::vector<int32_t> zeros(static_cast<size_t>(max_model_len()), 0);
  std::promise<RequestResult> done;
  engine_.submit({.sequences = {{.token_ids = zeros, .token_type_ids = zeros}},
                  .on_done = [&](RequestResult result) { done.set_value(std::move(result)); }});
  const RequestResult result = done.get_future().get();
  if (result.error) std::rethrow_exception(result.error);
}

double EncoderEndpoints::wait_time(size_t body_bytes) const {
  return engine_.queue().wait_time(static_cast<int64_t>(body_bytes) / kBytesPerToken);
}

int64_t EncoderEndpoints::max_model_len() const {
  return service_.model().plan.limits.max_seq_len;
}

void EncoderEndpoints::require_time(int64_t num_tokens, Clock::time_point deadline) const {
  const double needed = engine_.queue().finish_time(num_tokens);
  const double left = seconds(deadline - Clock::now());
  if (needed <= left || left <= 0) return;  // what is late already, the engine says
  throw RequestError(Refusal::kOverloaded,
                     fmt::format("this would take {:.1f} s, the request's deadline is in {:.1f} s; "
                                 "try again, or allow more time",
                                 needed, left),
                     "", "overloaded", retry_after(needed - left));
}

void EncoderEndpoints::tokenize(const ExchangePtr& exchange) {
  answer_tei_tokenize(service_, exchange);
}

void EncoderEndpoints::not_built(const ExchangePtr& exchange) {
  throw RequestError(Refusal::kWrongModel,
                     fmt::format("{} serves no model for {}: sparse embeddings and token "
                                 "classification are not built yet",
                                 service_.model_name(), route_path(exchange->request().path)));
}

void EncoderEndpoints::describe(json::object& info) const {
  const LoadedModel& model = service_.model();
  const StepLimits& steps = model.plan.limits;
  info["dimensions"] = model.config.hidden_size;
  info["pooling"] = to_string(model.config.pooling);
  info["normalize"] = model.config.normalize;
  json::object& limits = info["limits"].as_object();
  limits["max_input_tokens"] = steps.max_seq_len;
  limits["max_step_tokens"] = steps.max_num_tokens;
  limits["max_step_sequences"] = steps.max_num_sequences;
  // The names under which clients of TEI look.
  info["model_type"] = model_type(model.config);
  info["max_input_length"] = steps.max_seq_len;
  info["max_batch_tokens"] = steps.max_num_tokens;
  info["max_batch_requests"] = steps.max_num_sequences;
  info["auto_truncate"] = service_.config().truncate;
}

std::vector<std::string> EncoderEndpoints::report() const {
  const StepLimits& limits = service_.model().plan.limits;
  return {fmt::format("limits: {} tokens per input, {} tokens and {} sequences per step",
                      limits.max_seq_len, limits.max_num_tokens, limits.max_num_sequences)};
}

}  // namespace millrace
