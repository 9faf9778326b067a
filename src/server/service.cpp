// The routes that describe the server: models, health, info, metrics.
#include "server/service.h"

#include <chrono>

#include "base/json.h"
#include "base/version.h"
#include "server/request_error.h"

namespace millrace {

namespace {

constexpr auto kStepPatience = std::chrono::seconds(30);  // a step that takes longer is stuck

using ExchangePtr = std::shared_ptr<http::Exchange>;

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

// A handler whose exceptions become answers.
http::Handler guarded(http::Handler handler) {
  return [handler = std::move(handler)](ExchangePtr exchange) {
    try {
      handler(exchange);
    } catch (...) {
      exchange->respond(error_response(std::current_exception()));
    }
  };
}

}  // namespace

Service::Service(std::unique_ptr<LoadedModel> model, RuntimeConfig config,
                 std::vector<Setting> settings)
    : model_(std::move(model)),
      config_(std::move(config)),
      settings_(std::move(settings)),
      model_name_(served_name(*model_, config_)),
      created_(std::chrono::duration_cast<std::chrono::seconds>(
                   std::chrono::system_clock::now().time_since_epoch())
                   .count()),
      engine_(std::move(model_->runner), model_->plan.limits) {}

http::Router Service::make_router() {
  http::Router router(
      [](int status, std::string_view message) { return error_response(status, message); });
  const auto add = [&](const char* method, const char* path, http::Handler handler) {
    router.add(method, path, guarded(std::move(handler)));
  };
  add("POST", "/v1/embeddings", [this](const ExchangePtr& exchange) { embeddings(exchange); });
  if (config_.webserver_default_route.empty() ||
      config_.webserver_default_route == "/v1/embeddings") {
    add("POST", "/", [this](const ExchangePtr& exchange) { embeddings(exchange); });
  }
  add("GET", "/v1/models", [this](const ExchangePtr& exchange) { models(exchange); });
  add("GET", "/v1/models/*", [this](const ExchangePtr& exchange) { one_model(exchange); });
  add("GET", "/info", [this](const ExchangePtr& exchange) { info(exchange); });
  add("GET", "/health", [this](const ExchangePtr& exchange) { health(exchange); });
  add("GET", "/ready", [this](const ExchangePtr& exchange) { health(exchange); });
  add("GET", "/live", [](const ExchangePtr& exchange) {
    respond_json(exchange, json::object{{"status", "live"}});
  });
  add("GET", "/metrics", [this](const ExchangePtr& exchange) {
    http::Response response =
        http::text_response(200, metrics_.scrape(engine_.stats(), server_->num_connections()));
    response.headers.set("content-type", "text/plain; version=0.0.4; charset=utf-8");
    exchange->respond(std::move(response));
  });
  return router;
}

void Service::models(const ExchangePtr& exchange) const {
  respond_json(exchange,
               json::object{{"object", "list"},
                            {"data", json::array{model_object(model_name_, created_,
                                                              model_->plan.limits.max_seq_len)}}});
}

void Service::one_model(const ExchangePtr& exchange) const {
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string id = exchange->request().path.substr(kPrefix.size());
  if (id != model_name_) {
    throw RequestError(
        404,
        fmt::format("the model \"{}\" does not exist; this server has \"{}\"", id, model_name_),
        "model", "model_not_found");
  }
  respond_json(exchange, model_object(model_name_, created_, model_->plan.limits.max_seq_len));
}

void Service::health(const ExchangePtr& exchange) const {
  if (draining_.load()) throw RequestError(503, "the server is shutting down", "", "draining");
  if (!engine_.healthy(kStepPatience)) {
    throw RequestError(
        503, fmt::format("work waits and no step was finished for {} s", kStepPatience.count()), "",
        "engine_stuck");
  }
  respond_json(exchange, json::object{{"status", "ok"}});
}

void Service::info(const ExchangePtr& exchange) const {
  const LoadedModel& model = *model_;
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
          {"limits", json::object{{"max_input_tokens", model.plan.limits.max_seq_len},
                                  {"max_step_tokens", model.plan.limits.max_num_tokens},
                                  {"max_step_sequences", model.plan.limits.max_num_sequences},
                                  {"max_client_batch_size", config_.max_client_batch_size},
                                  {"max_concurrent_requests", config_.max_concurrent_requests},
                                  {"max_body_bytes", config_.max_body_bytes}}},
          {"load_seconds", json::object{{"open", seconds(model.times.open)},
                                        {"place", seconds(model.times.place)}}},
          {"settings", std::move(settings)}});
}

}  // namespace millrace
