// The routes that describe the server: models, health, info, metrics.
#include "server/service.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "base/version.h"
#include "server/encoder_endpoints.h"
#include "server/generator_endpoints.h"
#include "server/openapi.h"
#include "server/paths.h"
#include "server/token_routes.h"

namespace millrace {

namespace {

// Beyond, a body is parsed and tokenized apart from the others.
constexpr size_t kInlineBodyBytes = 256 * 1024;
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

RequestError overloaded(const std::string& reason, double wait) {
  // Half of what waits is computed then: there is room, and still something to do.
  return {Refusal::kOverloaded, reason + "; try again", "", "overloaded", retry_after(wait / 2)};
}

RequestError crowded(int limit, double wait) {
  return overloaded(fmt::format("{} requests are in work, which is the limit", limit), wait);
}

}  // namespace

int retry_after(double seconds) {
  return std::max(1, static_cast<int>(std::ceil(std::min(seconds, 86400.0))));
}

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
      endpoints_(make_endpoints(std::move(on_device_lost))) {}

std::unique_ptr<Endpoints> Service::make_endpoints(std::function<void()> on_device_lost) {
  if (!model_->tokenizer) {
    throw Error(ErrorCode::kUnsupported, fmt::format("{} has no tokenizer.json", model_->name),
                "serve a checkpoint that has one");
  }
  if (!model_->generator) {
    return std::make_unique<EncoderEndpoints>(*this, std::move(model_->runner),
                                              std::move(on_device_lost));
  }
  return std::make_unique<GeneratorEndpoints>(*this, *model_->generator, std::move(on_device_lost));
}

std::string Service::default_route() const {
  return config_.webserver_default_route.empty() ? endpoints_->default_route()
                                                 : config_.webserver_default_route;
}

// What does not find room is refused before anything is spent on its body.
void Service::dispatch(const ExchangePtr& exchange, const Route& route) {
  handle(exchange, [&] {
    if (route.computes) require_room(exchange->request());
    if (exchange->request().body.size() <= kInlineBodyBytes) return route.handler(exchange);
    lane_.post([this, exchange, handler = route.handler] {
      handle(exchange, [&] { handler(exchange); });
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

http::Response Service::failure(const http::Request& request, const std::exception_ptr& error) {
  endpoints_->observe_failure(refusal_of(error));
  return error_response(endpoints_->error_style(request.path), error);
}

void Service::fail(const ExchangePtr& exchange, const std::exception_ptr& error) {
  exchange->respond(failure(exchange->request(), error));
}

http::Router Service::make_router() {
  http::Router router([this](int status, std::string_view message, const http::Request& request) {
    return refuse(status, message, request);
  });
  router.set_rewrite(route_path);
  std::vector<Route> routes = this->routes();
  std::ranges::move(endpoints_->routes(), std::back_inserter(routes));
  std::set<std::string> paths;
  const auto add = [&](const std::string& path, const Route& route) {
    router.add(route.method, path,
               [this, route](const ExchangePtr& exchange) { dispatch(exchange, route); });
  };
  for (const Route& route : routes) {
    paths.insert(route.path);
    add(route.path, route);
    if (route.method != "POST" || route.path != default_route()) continue;
    add("/", route);
    add("/invocations", route);
  }
  // What another kind of model would answer is told apart from what nothing answers.
  const Route other{.method = "POST",
                    .handler = [this](const ExchangePtr& exchange) { other_kind(exchange); }};
  for (const auto& kind : {EncoderEndpoints::paths(), GeneratorEndpoints::paths()}) {
    for (const std::string& path : kind) {
      if (paths.insert(path).second) add(path, other);
    }
  }
  return router;
}

std::vector<Route> Service::routes() {
  const auto bind = [this](void (Service::*handler)(const ExchangePtr&)) {
    return [this, handler](const ExchangePtr& exchange) { (this->*handler)(exchange); };
  };
  return {
      {"POST", "/decode", [this](const ExchangePtr& exchange) { answer_decode(*this, exchange); }},
      {"GET", "/v1/models", bind(&Service::models)},
      {"GET", "/v1/models/*", bind(&Service::one_model)},
      {"GET", "/info", bind(&Service::info)},
      {"GET", "/health", bind(&Service::health)},
      {"GET", "/ready", bind(&Service::health)},
      {"GET", "/ping", bind(&Service::health)},
      {"GET", "/", bind(&Service::health)},
      {"GET", "/live", bind(&Service::live)},
      {"GET", "/metrics", bind(&Service::scrape)},
      {"GET", "/openapi.json", bind(&Service::openapi)},
  };
}

std::optional<http::Response> Service::admit(const http::Request& head) const {
  if (is_probe(head.path)) return std::nullopt;
  const auto refusal = access_.refusal(head);
  if (!refusal) return std::nullopt;
  return error_response(endpoints_->error_style(head.path), std::make_exception_ptr(*refusal));
}

http::Response Service::refuse(int status, std::string_view message,
                               const http::Request& request) const {
  return error_response(endpoints_->error_style(request.path), status, message);
}

BodyLimits Service::body_limits() const {
  return {.max_depth = config_.limits.max_json_depth,
          .max_inputs = static_cast<size_t>(config_.limits.max_client_batch_size),
          .vocab_size = model_->config.vocab_size,
          .strict = config_.strict_fields};
}

void Service::require_room(const http::Request& request) const {
  if (draining())
    throw RequestError(Refusal::kUnavailable, "the server is shutting down", "", "draining");
  const ClientLimits& limits = config_.limits;
  if (num_in_flight_.load() >= limits.max_concurrent_requests)
    throw crowded(limits.max_concurrent_requests, endpoints_->drain_time());
  const double wait = endpoints_->wait_time(request.body.size());
  if (wait <= limits.max_queue_time_s) return;
  throw overloaded(fmt::format("a request of this size would wait for {:.1f} s, the limit is {} s",
                               wait, limits.max_queue_time_s),
                   wait);
}

void Service::take_slot() {
  const int limit = config_.limits.max_concurrent_requests;
  if (num_in_flight_.fetch_add(1) < limit) return;
  give_slot();
  throw crowded(limit, endpoints_->drain_time());
}

bool Service::take_result_bytes(size_t count) {
  const auto limit = static_cast<size_t>(config_.limits.max_total_body_bytes);
  if (result_bytes_.fetch_add(count) + count <= limit) return true;
  result_bytes_.fetch_sub(count);
  return false;
}

void Service::other_kind(const ExchangePtr& exchange) {
  throw RequestError(Refusal::kWrongModel,
                     fmt::format("{} ({}) does not answer {}; its main route is {}", model_name_,
                                 model_->config.architecture, route_path(exchange->request().path),
                                 default_route()),
                     "model");
}

void Service::live(const ExchangePtr& exchange) {
  respond_json(exchange, json::object{{"status", "live"}});
}

void Service::scrape(const ExchangePtr& exchange) {
  http::Response response =
      http::text_response(200, metrics_.scrape(server_->num_connections(), num_in_flight_.load()) +
                                   endpoints_->scrape());
  response.headers.set("content-type", "text/plain; version=0.0.4; charset=utf-8");
  exchange->respond(std::move(response));
}

void Service::openapi(const ExchangePtr& exchange) {
  exchange->respond(http::json_response(200, std::string(openapi_document())));
}

void Service::models(const ExchangePtr& exchange) {
  respond_json(
      exchange,
      json::object{
          {"object", "list"},
          {"data", json::array{model_object(model_name_, created_, endpoints_->max_model_len())}}});
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
  respond_json(exchange, model_object(model_name_, created_, endpoints_->max_model_len()));
}

// Those without a key learn the status and no more.
void Service::health(const ExchangePtr& exchange) {
  std::string reason;
  if (draining_.load()) {
    reason = "the server is shutting down";
  } else if (!endpoints_->healthy(kStepPatience)) {
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
  json::array settings;
  for (const Setting& setting : settings_) {
    settings.push_back(
        json::object{{"path", setting.path}, {"value", setting.value}, {"origin", setting.origin}});
  }
  json::object body = {
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
      {"memory", json::object{{"weight_bytes", model.plan.parameters.bytes()},
                              {"activation_bytes", model.plan.activation_bytes()}}},
      {"limits", json::object{{"max_client_batch_size", limits.max_client_batch_size},
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
      {"max_client_batch_size", limits.max_client_batch_size},
      {"max_concurrent_requests", limits.max_concurrent_requests},
      {"tokenization_workers", model.pool->num_threads()}};
  json::array kernels;
  for (const cuda::KernelInstance& kernel : model.plan.kernels())
    kernels.push_back(json::value(kernel.name()));
  body["kernels"] = std::move(kernels);
  endpoints_->describe(body);
  json::array endpoints;
  for (const std::string& path : endpoint_paths()) endpoints.push_back(json::value(path));
  body["endpoints"] = std::move(endpoints);
  respond_json(exchange, body);
}

std::vector<std::string> Service::endpoint_paths() const {
  std::vector<std::string> paths;
  for (const Route& route : endpoints_->routes()) paths.push_back(route.path);
  return paths;
}

std::vector<std::string> Service::report() const {
  const LoadedModel& model = *model_;
  std::vector<std::string> lines = {
      fmt::format("model {}: {} from {}, {} parameters in {}", model_name_,
                  model.config.architecture, model.manifest ? "an engine" : "a checkpoint",
                  model.plan.parameters.numel(), to_string(model.config.dtype)),
      fmt::format("device {}: {}, products in {}", to_string(model.device),
                  model.gpu ? model.gpu->name
                            : fmt::format("{} threads, {}", model.pool->num_threads(),
                                          cpu::to_string(model.isa)),
                  to_string(model.plan.precision.product)),
      fmt::format("memory: {:.1f} MiB of weights, {:.1f} MiB of activations",
                  static_cast<double>(model.plan.parameters.bytes()) / (1 << 20),
                  static_cast<double>(model.plan.activation_bytes()) / (1 << 20))};
  std::ranges::move(endpoints_->report(), std::back_inserter(lines));
  const LoadTimes& times = model.times;
  lines.push_back(
      fmt::format("loaded in {:.2f} s: open and verify {:.2f} s, device {:.2f} s, weights {:.2f} s",
                  seconds(times.open + times.device + times.place), seconds(times.open),
                  seconds(times.device), seconds(times.place)));
  lines.push_back(fmt::format("endpoints: {}", fmt::join(endpoint_paths(), " ")));
  for (const Setting& setting : settings_) {
    lines.push_back(fmt::format("setting {} = {} ({}){}", setting.path, setting.value,
                                setting.origin, setting.has_effect ? "" : ", without effect"));
  }
  return lines;
}

}  // namespace millrace
