// Look-up of a handler; answers 404 and 405 itself.
#include "http/router.h"

#include <algorithm>

#include "base/error.h"

namespace millrace::http {

void Router::add(std::string method, std::string pattern, Handler handler) {
  CHECK(pattern.starts_with('/'), "pattern {}", pattern);
  CHECK(handler != nullptr);
  auto route = std::find_if(routes_.begin(), routes_.end(),
                            [&](const Route& r) { return r.pattern == pattern; });
  if (route == routes_.end()) {
    const bool prefix = pattern.ends_with("/*");
    routes_.push_back({.pattern = std::move(pattern), .prefix = prefix, .methods = {}});
    route = routes_.end() - 1;
  }
  route->methods.emplace_back(std::move(method), std::move(handler));
}

std::string Router::lookup_path(const Request& request) const {
  return rewrite_ ? rewrite_(request.path) : request.path;
}

const Router::Route* Router::match(std::string_view path) const {
  const Route* best = nullptr;
  for (const Route& route : routes_) {
    if (!route.prefix) {
      if (route.pattern == path) return &route;
      continue;
    }
    const auto stem = std::string_view(route.pattern).substr(0, route.pattern.size() - 1);
    if (path.starts_with(stem) && path.size() > stem.size() &&
        (!best || route.pattern.size() > best->pattern.size())) {
      best = &route;
    }
  }
  return best;
}

void Router::handle(std::shared_ptr<Exchange> exchange) const {
  const Request& request = exchange->request();
  const auto error = [&](int status, const std::string& message) {
    return error_body_ ? error_body_(status, message, request)
                       : text_response(status, message + "\n");
  };
  const Route* route = match(lookup_path(request));
  if (!route) {
    exchange->respond(error(404, fmt::format("no route for {}", request.path)));
    return;
  }
  exchange->set_route(route->pattern);

  const Handler* found = nullptr;
  std::string allow;
  for (const auto& [method, handler] : route->methods) {
    if (method == request.method) {
      found = &handler;
      break;
    }
    if (method == "GET") {
      if (request.method == "HEAD") found = &handler;
      allow += "HEAD, ";
    }
    allow += method + ", ";
  }
  if (found) {
    (*found)(std::move(exchange));
    return;
  }
  Response response = error(405, fmt::format("{} does not take {}", request.path, request.method));
  response.headers.set("allow", allow.substr(0, allow.size() - 2));
  exchange->respond(std::move(response));
}

std::string Router::rest(const Request& request) const {
  const std::string path = lookup_path(request);
  const Route* route = match(path);
  if (!route || !route->prefix) return {};
  return path.substr(route->pattern.size() - 1);
}

}  // namespace millrace::http
