// Endpoints: what a server answers that depends on the kind of its model, an encoder or a
// generator: the engine, and the routes over it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "http/exchange.h"
#include "server/request_error.h"

namespace millrace {

using ExchangePtr = std::shared_ptr<http::Exchange>;

struct Route {
  std::string method;
  std::string path;
  std::function<void(const ExchangePtr&)> handler;  // what it throws becomes the answer
  bool computes = false;                            // waits in the engine's queue
};

// A POST route as a kind of endpoints lists it.
template <class Kind>
struct RouteEntry {
  const char* path;
  void (Kind::*handler)(const ExchangePtr& exchange);
  bool computes = true;
};

template <class Kind>
std::vector<std::string> paths_of(const std::vector<RouteEntry<Kind>>& table) {
  std::vector<std::string> paths;
  for (const RouteEntry<Kind>& entry : table) paths.emplace_back(entry.path);
  return paths;
}

// Each with the handler of `kind`, which outlives them.
template <class Kind>
std::vector<Route> routes_of(const std::vector<RouteEntry<Kind>>& table, Kind& kind) {
  std::vector<Route> routes;
  for (const RouteEntry<Kind>& entry : table) {
    routes.push_back({.method = "POST",
                      .path = entry.path,
                      .handler = [&kind, handler = entry.handler](
                                     const ExchangePtr& exchange) { (kind.*handler)(exchange); },
                      .computes = entry.computes});
  }
  return routes;
}

// The seam between what all models share (Service) and what each kind has of its own.
class Endpoints {
 public:
  Endpoints() = default;
  virtual ~Endpoints() = default;
  Endpoints(const Endpoints&) = delete;
  Endpoints& operator=(const Endpoints&) = delete;

  virtual std::vector<Route> routes() = 0;        // the same each time
  virtual std::string default_route() const = 0;  // what POST / means when nobody says
  virtual ErrorStyle error_style(std::string_view path) const = 0;

  // Computes the largest of what may come once, so that the first client does not pay for fresh
  // memory, and a model that cannot compute is known before anybody asks. Throws what the engine
  // reports.
  virtual void warm_up() = 0;
  virtual void stop() = 0;  // ends the engine thread; what waits is answered 503
  virtual bool healthy(Clock::duration patience) const = 0;

  // How long a request whose body has so many bytes would wait, and how long all that waits now
  // will take; s, 0 where nothing is known yet.
  virtual double wait_time(size_t body_bytes) const = 0;
  virtual double drain_time() const = 0;

  virtual int64_t max_model_len() const = 0;            // tokens of a sequence
  virtual void describe(json::object& info) const = 0;  // adds its part of /info
  virtual std::vector<std::string> report() const = 0;  // its lines of the start-up report

  virtual void observe_failure(Refusal refusal) = 0;
  virtual std::string scrape() = 0;  // its part of /metrics
};

}  // namespace millrace
