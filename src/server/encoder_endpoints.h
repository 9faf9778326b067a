// EncoderEndpoints: the engine of an embedder or a classifier, and the routes over it.
#pragma once

#include "runtime/engine_core.h"
#include "server/encoder_metrics.h"
#include "server/endpoints.h"

namespace millrace {

class Service;

class EncoderEndpoints : public Endpoints {
 public:
  // `service` outlives it. `on_lost` is called once, on another thread, when the GPU fails for
  // good.
  EncoderEndpoints(Service& service, std::unique_ptr<ModelRunner> runner,
                   std::function<void()> on_lost);

  static std::vector<std::string> paths();  // of the routes that need an encoder

  std::vector<Route> routes() override;
  std::string default_route() const override;
  ErrorStyle error_style(std::string_view path) const override;
  void warm_up() override;
  void stop() override { engine_.stop(); }
  bool healthy(Clock::duration patience) const override { return engine_.healthy(patience); }
  double wait_time(size_t body_bytes) const override;
  double drain_time() const override { return engine_.queue().drain_time(); }
  int64_t max_model_len() const override;
  void describe(json::object& info) const override;
  std::vector<std::string> report() const override;
  void observe_failure(Refusal refusal) override { metrics_.observe_failure(refusal); }
  std::string scrape() override { return metrics_.scrape(engine_.stats()); }

  // For Inference.
  Service& service() { return service_; }
  EngineCore& engine() { return engine_; }
  EncoderMetrics& metrics() { return metrics_; }
  // Throws RequestError{kOverloaded} when a request of `num_tokens` cannot be computed by then.
  void require_time(int64_t num_tokens, Clock::time_point deadline) const;

 private:
  using Entry = RouteEntry<EncoderEndpoints>;
  static const std::vector<Entry>& table();  // of POST routes

  void embeddings(const ExchangePtr& exchange);  // embed_routes.cpp
  void embed(const ExchangePtr& exchange);
  void embed_all(const ExchangePtr& exchange);
  void similarity(const ExchangePtr& exchange);
  void predict(const ExchangePtr& exchange);  // predict_routes.cpp
  void rerank(const ExchangePtr& exchange);
  void rerank_documents(const ExchangePtr& exchange);
  void tokenize(const ExchangePtr& exchange);
  void not_built(const ExchangePtr& exchange);

  Service& service_;
  EncoderMetrics metrics_;
  EngineCore engine_;  // its thread ends before what it uses goes away
};

}  // namespace millrace
