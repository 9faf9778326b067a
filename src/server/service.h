// Service: one loaded model, what all models share of a server, and the Endpoints of its kind.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config_file.h"
#include "http/router.h"
#include "http/server.h"
#include "runtime/loaded_model.h"
#include "server/access.h"
#include "server/body_reader.h"
#include "server/endpoints.h"
#include "server/lane.h"
#include "server/metrics.h"

namespace millrace {

class Service {
 public:
  // `on_device_lost` is called once, on another thread, when the GPU fails for good.
  Service(std::unique_ptr<LoadedModel> model, RuntimeConfig config, std::vector<Setting> settings,
          std::function<void()> on_device_lost = {});

  // The server that answers; must be set before it starts and outlive every request.
  void attach(http::Server& server) { server_ = &server; }
  http::Router make_router();

  // For the server's options: who is let in, and what is said to those who never reach a route.
  std::optional<http::Response> admit(const http::Request& head) const;
  http::Response refuse(int status, std::string_view message, const http::Request& request) const;

  void warm_up() { endpoints_->warm_up(); }

  // From now on /ready and /health say no, so that balancers look elsewhere.
  void begin_drain() { draining_.store(true); }
  void stop() { endpoints_->stop(); }

  const LoadedModel& model() const { return *model_; }
  const RuntimeConfig& config() const { return config_; }
  const std::string& model_name() const { return model_name_; }
  bool has_keys() const { return access_.has_keys(); }
  bool draining() const { return draining_.load(); }
  BodyLimits body_limits() const;
  Metrics& metrics() { return metrics_; }
  http::Server& server() { return *server_; }
  const Access& access() const { return access_; }
  int64_t created() const { return created_; }
  std::vector<std::string> report() const;  // the lines of the start-up report

  // The answer that says what went wrong, which is counted.
  http::Response failure(const http::Request& request, const std::exception_ptr& error);
  void fail(const ExchangePtr& exchange, const std::exception_ptr& error);

  // Before a request is parsed: throws RequestError when one of its size has to wait for too long,
  // or none is taken now: kOverloaded, kUnavailable.
  void require_room(const http::Request& request) const;

  // A place among the requests in work. Throws RequestError{kOverloaded} beyond the limit.
  void take_slot();
  void give_slot() { num_in_flight_.fetch_sub(1); }
  // Bytes of their results; false beyond the limit.
  bool take_result_bytes(size_t count);
  void give_result_bytes(size_t count) { result_bytes_.fetch_sub(count); }

 private:
  std::unique_ptr<Endpoints> make_endpoints(std::function<void()> on_device_lost);
  std::vector<Route> routes();                      // of all models
  std::vector<std::string> endpoint_paths() const;  // of this kind of model
  std::string default_route() const;
  void dispatch(const ExchangePtr& exchange, const Route& route);
  void handle(const ExchangePtr& exchange, const std::function<void()>& work);

  void other_kind(const ExchangePtr& exchange);
  void models(const ExchangePtr& exchange);
  void one_model(const ExchangePtr& exchange);
  void info(const ExchangePtr& exchange);
  void health(const ExchangePtr& exchange);
  void live(const ExchangePtr& exchange);
  void scrape(const ExchangePtr& exchange);
  void openapi(const ExchangePtr& exchange);

  std::unique_ptr<LoadedModel> model_;
  RuntimeConfig config_;
  std::vector<Setting> settings_;
  std::string model_name_;
  int64_t created_;  // s since the epoch: when the model was loaded
  Access access_;
  Metrics metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<int> num_in_flight_{0};
  std::atomic<size_t> result_bytes_{0};
  http::Server* server_ = nullptr;
  std::unique_ptr<Endpoints> endpoints_;
  Lane lane_;  // last: it uses all of the above
};

// What Retry-After says, at least one second.
int retry_after(double seconds);

// Names the fields of a request that had no effect, in x-ignored-fields.
http::Response with_ignored(http::Response response, const std::vector<std::string>& fields);

}  // namespace millrace
