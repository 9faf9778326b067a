// Routes, keys, models.
#include "client/server_address.h"

#include <cstdlib>

#include "base/json.h"
#include "http/client.h"

namespace millrace {

std::string route_path(const http::BaseUrl& server, std::string_view route) {
  constexpr std::string_view kVersion = "/v1";
  if (server.prefix.ends_with(kVersion) && route.starts_with("/v1/")) {
    route.remove_prefix(kVersion.size());
  }
  return server.prefix + std::string(route);
}

http::Headers key_headers(std::string_view given) {
  std::string key(given);
  for (const char* name : {"MILLRACE_API_KEY", "OPENAI_API_KEY"}) {
    if (!key.empty()) break;
    if (const char* value = std::getenv(name)) key = value;
  }
  http::Headers headers;
  if (!key.empty()) headers.add("authorization", "Bearer " + key);
  return headers;
}

std::string served_model(const http::BaseUrl& server, const http::Headers& headers) {
  http::Client client(server.host, server.port);
  const http::Response response = client.request("GET", route_path(server, "/v1/models"), headers);
  if (response.status != 200) return {};
  try {
    const json::value listed = json::parse(response.body, "/v1/models");
    return std::string(listed.at("data").at(0).at("id").as_string());
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace millrace
