// Service: one loaded model, its engine, and the routes over them.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "config/config_file.h"
#include "http/router.h"
#include "http/server.h"
#include "runtime/engine_core.h"
#include "runtime/loaded_model.h"
#include "server/metrics.h"

namespace millrace {

class Service {
 public:
  Service(std::unique_ptr<LoadedModel> model, RuntimeConfig config, std::vector<Setting> settings);

  // The server that answers; must be set before it starts and outlive every request.
  void attach(http::Server& server) { server_ = &server; }

  http::Router make_router();
  Metrics& metrics() { return metrics_; }
  const LoadedModel& model() const { return *model_; }
  const std::string& model_name() const { return model_name_; }

  // From now on /ready and /health say no, so that balancers look elsewhere.
  void begin_drain() { draining_.store(true); }

  void stop() { engine_.stop(); }  // ends the engine thread; what waits is answered 503

 private:
  // A place among the requests in flight, given back when its last copy goes; 429 beyond the limit.
  std::shared_ptr<void> take_slot();
  void embeddings(const std::shared_ptr<http::Exchange>& exchange);
  void models(const std::shared_ptr<http::Exchange>& exchange) const;
  void one_model(const std::shared_ptr<http::Exchange>& exchange) const;
  void info(const std::shared_ptr<http::Exchange>& exchange) const;
  void health(const std::shared_ptr<http::Exchange>& exchange) const;

  std::unique_ptr<LoadedModel> model_;
  RuntimeConfig config_;
  std::vector<Setting> settings_;
  std::string model_name_;
  int64_t created_;  // s since the epoch: when the model was loaded
  Metrics metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<int> num_in_flight_{0};
  http::Server* server_ = nullptr;
  EngineCore engine_;  // last: its thread ends before what it uses goes away
};

}  // namespace millrace
