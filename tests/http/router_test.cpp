// Which handler a method and a path reach, and what is said when none is there.
#include "http/router.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

namespace millrace::http {
namespace {

// Routes one request without a socket.
Response route(const Router& router, std::string method, std::string path) {
  std::optional<Response> answer;
  {
    auto exchange =
        std::make_shared<Exchange>(Request{.method = std::move(method), .path = std::move(path)},
                                   [&](std::optional<Response> r) { answer = std::move(r); });
    router.handle(std::move(exchange));
  }
  return answer.value_or(Response{.status = 0});
}

// Answers with its name, the matched route and the open rest.
Handler named(const Router& router, std::string name) {
  return [&router, name](const std::shared_ptr<Exchange>& exchange) {
    const Request& request = exchange->request();
    exchange->respond(text_response(200, name + " " + request.route + " " + router.rest(request)));
  };
}

TEST(Router, FindsTheMostExactRoute) {
  Router router;
  router.add("GET", "/v1/models", named(router, "list"));
  router.add("GET", "/v1/models/*", named(router, "one"));
  router.add("GET", "/v1/models/special", named(router, "special"));
  router.add("GET", "/v1/*", named(router, "any"));
  EXPECT_EQ(route(router, "GET", "/v1/models").body, "list /v1/models ");
  EXPECT_EQ(route(router, "GET", "/v1/models/a/b").body, "one /v1/models/* a/b");
  EXPECT_EQ(route(router, "GET", "/v1/models/special").body, "special /v1/models/special ");
  EXPECT_EQ(route(router, "GET", "/v1/else").body, "any /v1/* else");
  for (const char* path : {"/", "/v1", "/v1/", "/v1models", "/v2/models", "*", ""}) {
    EXPECT_EQ(route(router, "GET", path).status, 404) << path;
  }
}

TEST(Router, NamesTheAllowedMethods) {
  Router router([](int status, std::string_view message, const Request&) {
    return json_response(status, std::string(message));
  });
  router.add("GET", "/a", named(router, "get"));
  router.add("POST", "/a", named(router, "post"));
  router.add("POST", "/b", named(router, "post"));
  EXPECT_EQ(route(router, "POST", "/a").body, "post /a ");
  EXPECT_EQ(route(router, "HEAD", "/a").body, "get /a ");
  const Response refused = route(router, "DELETE", "/a");
  EXPECT_EQ(refused.status, 405);
  EXPECT_EQ(refused.headers.find("allow"), "HEAD, GET, POST");
  EXPECT_EQ(refused.headers.find("content-type"), "application/json");
  EXPECT_EQ(route(router, "HEAD", "/b").headers.find("allow"), "POST");
  EXPECT_EQ(route(router, "get", "/a").status, 405);  // methods are case-sensitive
}

TEST(Router, RewritesBeforeItLooksUp) {
  Router router;
  router.add("GET", "/v1/*", named(router, "v1"));
  router.set_rewrite([](std::string_view path) {
    const std::string_view prefix = "/environments/production/sync";
    return std::string(path.starts_with(prefix) ? path.substr(prefix.size()) : path);
  });
  EXPECT_EQ(route(router, "GET", "/environments/production/sync/v1/x").body, "v1 /v1/* x");
  EXPECT_EQ(route(router, "GET", "/v1/x").body, "v1 /v1/* x");
  EXPECT_EQ(route(router, "GET", "/environments/other/v1/x").status, 404);
}

TEST(Exchange, ToldOfClosingOnceAndOnlyBeforeTheAnswer) {
  int sent = 0;
  int closed = 0;
  {
    Exchange exchange(Request{}, [&](std::optional<Response> r) { sent += r ? 1 : 100; });
    exchange.on_close([&] { ++closed; });
    exchange.notify_closed();
    exchange.notify_closed();
    EXPECT_TRUE(exchange.cancelled());
    EXPECT_EQ(closed, 1);
    exchange.on_close([&] { ++closed; });
    EXPECT_EQ(closed, 2);
    EXPECT_TRUE(exchange.respond({}));
    EXPECT_FALSE(exchange.respond({}));
    exchange.on_close([&] { ++closed; });
  }
  EXPECT_EQ(sent, 1);
  EXPECT_EQ(closed, 2);
  {
    Exchange dropped(Request{}, [&](std::optional<Response> r) { sent += r ? 1 : 100; });
  }
  EXPECT_EQ(sent, 101);
}

TEST(Exchange, MayBeOwnedByItsOwnCallback) {
  bool dropped = false;
  auto exchange =
      std::make_shared<Exchange>(Request{}, [&](std::optional<Response> r) { dropped = !r; });
  std::weak_ptr<Exchange> weak = exchange;
  Exchange& borrowed = *exchange;
  borrowed.on_close([held = std::move(exchange)] {});
  ASSERT_FALSE(weak.expired());
  borrowed.notify_closed();
  EXPECT_TRUE(weak.expired());
  EXPECT_TRUE(dropped);
}

}  // namespace
}  // namespace millrace::http
