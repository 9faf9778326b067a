// The routes that describe the server: models, health, info, metrics.
#include "server/service.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <future>

#include "base/error.h"
#include "base/json.h"
#include "base/version.h"
#include "server/openapi.h"
#include "server/paths.h"

namespace millrace {

namespace {

// Beyond, a body is parsed and tokenized apart from the others.
constexpr size_t kInlineBodyBytes = 256 * 1024;
constexpr int64_t kBytesPerToken = 4;  // of a body, about: what it will cost before it is read
constexpr auto kStepPatience = std::chrono::seconds(30);  // a step that takes longer is stuck

std::string served_name(const LoadedModel& model, const RuntimeConfig& config) {
  return config.served_model_name.empty() ? model.name : config.served_model_name;
}

json::object model_object(const std::string& name, int64_t created, int64_t max_model_len) {
  return {{"id", name},
          {"object", "model"},
          {"created", created},
          {"owned_by", "millrace"},
          {"root", name},
          {"parent", nullptr},
          {"max_model_len", max_model_len}};
}

void respond_json(const ExchangePtr& exchange, const json::value& body) {
  exchange->respond(http::json_response(200, json::to_text(body)));
}

// At least one: what Retry-After says.
int whole_seconds(double time) {
  return std::max(1, static_cast<int>(std::ceil(std::min(time, 86400.0))));
}

RequestError overloaded(const std::string& reason, double wait) {
  // Half of what waits is computed then: there is room, and still something to do.
  return {Refusal::kOverloaded, reason + "; try again", "", "overloaded", whole_seconds(wait / 2)};
}

RequestError crowded(int limit, double wait) {
  return overloaded(fmt::format("{} requests are in work, which is the limit", limit), wait);
}

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

http::Response with_ignored(http::Response response, const std::vector<std::string>& fields) {
  if (!fields.empty())
    response.headers.set("x-ignored-fields", fmt::format("{}", fmt::join(fields, ", ")));
  return response;
}

Service::Service(std::unique_ptr<LoadedModel> model, RuntimeConfig config,
                 std::vector<Setting> settings, std::function<void()> on_device_lost)
    : model_(std::move(model)),
      config_(std::move(config)),
      settings_(std::move(settings)),
      model_name_(served_name(*model_, config_)),
      created_(std::chrono::duration_cast<std::chrono::seconds>(
                   std::chrono::system_clock::now().time_since_epoch())
                   .count()),
      access_(config_.access, config_.host),
      metrics_(model_->plan.limits.max_seq_len),
      engine_(std::move(model_->runner), model_->plan.limits, std::move(on_device_lost)) {}

// What POST / means when nobody says: the main route of this kind of model.
std::string Service::default_route() const {
  if (!config_.webserver_default_route.empty()) return config_.webserver_default_route;
  if (!model_->config.is_classifier()) return "/v1/embeddings";
  return model_->config.labels.size() == 1 ? "/rerank" : "/predict";
}

// What does not find room is refused before anything is spent on its body.
void Service::dispatch(const ExchangePtr& exchange, const Route& route) {
  handle(exchange, [&] {
    if (route.computes) require_room(exchange->request());
    if (exchange->request().body.size() <= kInlineBodyBytes)
      return (this->*route.handler)(exchange);
    lane_.post([this, exchange, handler = route.handler] {
      handle(exchange, [&] { (this->*handler)(exchange); });
    });
  });
}

// What `work` throws becomes the answer.
void Service::handle(const ExchangePtr& exchange, const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    fail(exchange, std::current_exception());
  }
}

void Service::fail(const ExchangePtr& exchange, const std::exception_ptr& error) {
  metrics_.observe_failure(refusal_of(error));
  exchange->respond(error_response(error_style(exchange->request().path), error));
}

http::Router Service::make_router() {
  http::Router router(refuse);
  router.set_rewrite(route_path);
  for (const Route& route : routes()) {
    const auto run = [this, &route](const ExchangePtr& exchange) { dispatch(exchange, route); };
    router.add(route.method, route.path, run);
    if (route.path != default_route()) continue;
    router.add(route.method, "/", run);
    router.add(route.method, "/invocations", run);
  }
  return router;
}

const std::vector<Service::Route>& Service::routes() {
  constexpr bool kComputes = true;
  static const std::vector<Route> table = {
      {"POST", "/v1/embeddings", &Service::embeddings, kComputes},
      {"POST", "/embeddings", &Service::embeddings, kComputes},
      {"POST", "/embed", &Service::embed, kComputes},
      {"POST", "/embed_all", &Service::embed_all, kComputes},
      {"POST", "/similarity", &Service::similarity, kComputes},
      {"POST", "/rerank", &Service::rerank, kComputes},
      {"POST", "/v1/rerank", &Service::rerank_documents, kComputes},
      {"POST", "/v2/rerank", &Service::rerank_documents, kComputes},
      {"POST", "/predict", &Service::predict, kComputes},
      {"POST", "/tokenize", &Service::tokenize},
      {"POST", "/decode", &Service::decode},
      {"POST", "/embed_sparse", &Service::not_built},
      {"POST", "/predict_tokens", &Service::not_built},
      {"GET", "/v1/models", &Service::models},
      {"GET", "/v1/models/*", &Service::one_model},
      {"GET", "/info", &Service::info},
      {"GET", "/health", &Service::health},
      {"GET", "/ready", &Service::health},
      {"GET", "/ping", &Service::health},
      {"GET", "/", &Service::health},
      {"GET", "/live", &Service::live},
      {"GET", "/metrics", &Service::scrape},
      {"GET", "/openapi.json", &Service::openapi},
  };
  return table;
}

void Service::warm_up() {
  const std::vector<int32_t> zeros(static_cast<size_t>(model_->plan.limits.max_seq_len), 0);
  std::promise<RequestResult> done;
  engine_.submit({.sequences = {{.token_ids = zeros, .token_type_ids = zeros}},
                  .on_done = [&](RequestResult result) { done.set_value(std::move(result)); }});
  const RequestResult result = done.get_future().get();
  if (result.error) std::rethrow_exception(result.error);
}

std::optional<http::Response> Service::admit(const http::Request& head) const {
  if (is_probe(head.path)) return std::nullopt;
  const auto refusal = access_.refusal(head);
  if (!refusal) return std::nullopt;
  return error_response(error_style(head.path), std::make_exception_ptr(*refusal));
}

http::Response Service::refuse(int status, std::string_view message, const http::Request& request) {
  return error_response(error_style(request.path), status, message);
}

BodyLimits Service::body_limits() const {
  return {.max_depth = config_.limits.max_json_depth,
          .max_inputs = static_cast<size_t>(config_.limits.max_client_batch_size),
          .vocab_size = model_->config.vocab_size};
}

void Service::require_room(const http::Request& request) const {
  if (draining())
    throw RequestError(Refusal::kUnavailable, "the server is shutting down", "", "draining");
  const ClientLimits& limits = config_.limits;
  const QueueEstimate queue = engine_.queue();
  if (num_in_flight_.load() >= limits.max_concurrent_requests)
    throw crowded(limits.max_concurrent_requests, queue.drain_time());
  const double wait = queue.wait_time(static_cast<int64_t>(request.body.size()) / kBytesPerToken);
  if (wait <= limits.max_queue_time_s) return;
  throw overloaded(fmt::format("a request of this size would wait for {:.1f} s, the limit is {} s",
                               wait, limits.max_queue_time_s),
                   wait);
}

void Service::take_slot() {
  const int limit = config_.limits.max_concurrent_requests;
  if (num_in_flight_.fetch_add(1) < limit) return;
  give_slot();
  throw crowded(limit, engine_.queue().drain_time());
}

void Service::require_time(int64_t num_tokens, Clock::time_point deadline) const {
  const double needed = engine_.queue().finish_time(num_tokens);
  const double left = seconds(deadline - Clock::now());
  if (needed <= left || left <= 0) return;  // what is late already, the engine says
  throw RequestError(Refusal::kOverloaded,
                     fmt::format("this would take {:.1f} s, the request's deadline is in {:.1f} s; "
                                 "try again, or allow more time",
                                 needed, left),
                     "", "overloaded", whole_seconds(needed - left));
}

bool Service::take_result_bytes(size_t count) {
  const auto limit = static_cast<size_t>(config_.limits.max_total_body_bytes);
  if (result_bytes_.fetch_add(count) + count <= limit) return true;
  result_bytes_.fetch_sub(count);
  return false;
}

void Service::not_built(const ExchangePtr& exchange) {
  throw RequestError(Refusal::kWrongModel,
                     fmt::format("{} serves no model for {}: sparse embeddings and token "
                                 "classification are not built yet",
                                 model_name_, route_path(exchange->request().path)));
}

void Service::live(const ExchangePtr& exchange) {
  respond_json(exchange, json::object{{"status", "live"}});
}

void Service::scrape(const ExchangePtr& exchange) {
  http::Response response =
      http::text_response(200, metrics_.scrape({.engine = engine_.stats(),
                                                .num_connections = server_->num_connections(),
                                                .num_in_flight = num_in_flight_.load()}));
  response.headers.set("content-type", "text/plain; version=0.0.4; charset=utf-8");
  exchange->respond(std::move(response));
}

void Service::openapi(const ExchangePtr& exchange) {
  exchange->respond(http::json_response(200, std::string(openapi_document())));
}

void Service::models(const ExchangePtr& exchange) {
  respond_json(exchange,
               json::object{{"object", "list"},
                            {"data", json::array{model_object(model_name_, created_,
                                                              model_->plan.limits.max_seq_len)}}});
}

void Service::one_model(const ExchangePtr& exchange) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string id = route_path(exchange->request().path).substr(kPrefix.size());
  if (id != model_name_) {
    throw RequestError(
        Refusal::kNotFound,
        fmt::format("the model \"{}\" does not exist; this server has \"{}\"", id, model_name_),
        "model", "model_not_found");
  }
  respond_json(exchange, model_object(model_name_, created_, model_->plan.limits.max_seq_len));
}

// Those without a key learn the status and no more.
void Service::health(const ExchangePtr& exchange) {
  std::string reason;
  if (draining_.load()) {
    reason = "the server is shutting down";
  } else if (!engine_.healthy(kStepPatience)) {
    reason = fmt::format("work waits and no step was finished for {} s", kStepPatience.count());
  }
  if (reason.empty()) return respond_json(exchange, json::object{{"status", "ok"}});
  throw RequestError(Refusal::kUnavailable,
                     access_.authenticated(exchange->request()) ? reason : "unavailable", "",
                     draining_.load() ? "draining" : "engine_stuck");
}

void Service::info(const ExchangePtr& exchange) {
  const LoadedModel& model = *model_;
  const ClientLimits& limits = config_.limits;
  const StepLimits& steps = model.plan.limits;
  json::array settings;
  for (const Setting& setting : settings_) {
    settings.push_back(
        json::object{{"path", setting.path}, {"value", setting.value}, {"origin", setting.origin}});
  }
  respond_json(
      exchange,
      json::object{
          {"version", kVersion},
          {"model", model_name_},
          {"architecture", model.config.architecture},
          {"served_from", model.manifest ? "engine" : "checkpoint"},
          {"device", to_string(model.device)},
          {"gpu", model.gpu ? json::value(model.gpu->name) : json::value(nullptr)},
          {"instruction_set", cpu::to_string(model.isa)},
          {"num_threads", model.pool->num_threads()},
          {"checkpoint_dtype", to_string(model.config.dtype)},
          {"hidden_dtype", to_string(model.plan.precision.hidden)},
          {"product_dtype", to_string(model.plan.precision.product)},
          {"dimensions", model.config.hidden_size},
          {"pooling", to_string(model.config.pooling)},
          {"normalize", model.config.normalize},
          {"memory", json::object{{"weight_bytes", model.plan.parameters.bytes()},
                                  {"activation_bytes", model.plan.activation_bytes()}}},
          {"limits", json::object{{"max_input_tokens", steps.max_seq_len},
                                  {"max_step_tokens", steps.max_num_tokens},
                                  {"max_step_sequences", steps.max_num_sequences},
                                  {"max_client_batch_size", limits.max_client_batch_size},
                                  {"max_concurrent_requests", limits.max_concurrent_requests},
                                  {"max_queue_time_s", limits.max_queue_time_s},
                                  {"max_connections", limits.max_connections},
                                  {"max_body_bytes", limits.max_body_bytes},
                                  {"max_total_body_bytes", limits.max_total_body_bytes},
                                  {"max_header_bytes", limits.max_header_bytes},
                                  {"max_json_depth", limits.max_json_depth},
                                  {"header_timeout_s", limits.header_timeout_s},
                                  {"body_timeout_s", limits.body_timeout_s},
                                  {"idle_timeout_s", limits.idle_timeout_s},
                                  {"request_timeout_s", limits.request_timeout_s}}},
          {"load_seconds", json::object{{"open", seconds(model.times.open)},
                                        {"device", seconds(model.times.device)},
                                        {"place", seconds(model.times.place)}}},
          {"settings", std::move(settings)},
          // The names under which clients of TEI look.
          {"model_id", model_name_},
          {"served_model_name", model_name_},
          {"model_sha", nullptr},
          {"model_dtype", to_string(model.plan.precision.product)},
          {"model_type", model_type(model.config)},
          {"max_input_length", steps.max_seq_len},
          {"max_batch_tokens", steps.max_num_tokens},
          {"max_batch_requests", steps.max_num_sequences},
          {"max_client_batch_size", limits.max_client_batch_size},
          {"max_concurrent_requests", limits.max_concurrent_requests},
          {"auto_truncate", config_.truncate},
          {"tokenization_workers", model.pool->num_threads()}});
}

}  // namespace millrace
