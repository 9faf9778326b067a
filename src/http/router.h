// The table from method and path to handler.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/exchange.h"

namespace millrace::http {

// Built before the server starts, const after. HEAD is answered by the handler of GET.
class Router {
 public:
  using Rewrite = std::function<std::string(std::string_view path)>;

  explicit Router(ErrorBody error_body = {}) : error_body_(std::move(error_body)) {}

  // `pattern` is a whole path ("/v1/models"), or a prefix when it ends in "/*" ("/v1/models/*");
  // whole paths win over prefixes and longer prefixes over shorter ones.
  void add(std::string method, std::string pattern, Handler handler);

  // Maps a path before it is looked up ("/production/sync/v1/models" to "/v1/models"); the request
  // itself keeps the path that was sent.
  void set_rewrite(Rewrite rewrite) { rewrite_ = std::move(rewrite); }

  // 404 for an unknown path; 405 with Allow for a known path and another method.
  void handle(std::shared_ptr<Exchange> exchange) const;

  // What the prefix pattern left open: "a/b" of "/v1/models/a/b" under "/v1/models/*".
  std::string rest(const Request& request) const;

 private:
  struct Route {
    std::string pattern;
    bool prefix = false;
    std::vector<std::pair<std::string, Handler>> methods;
  };

  const Route* match(std::string_view path) const;
  std::string lookup_path(const Request& request) const;

  std::vector<Route> routes_;
  ErrorBody error_body_;
  Rewrite rewrite_;
};

}  // namespace millrace::http
