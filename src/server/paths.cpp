// Prefixes and tables of paths.
#include "server/paths.h"

#include <algorithm>
#include <array>

namespace millrace {

namespace {

constexpr std::array<std::string_view, 8> kTeiRoutes = {
    "/embed",  "/embed_all", "/embed_sparse", "/similarity",
    "/rerank", "/predict",   "/tokenize",     "/decode"};
constexpr std::array<std::string_view, 4> kProbes = {"/live", "/ready", "/health", "/ping"};

// Cuts "/name" off the front; false when the path does not begin with it.
bool cut(std::string_view& path, std::string_view name) {
  if (!path.starts_with(name)) return false;
  if (path.size() > name.size() && path[name.size()] != '/') return false;
  path.remove_prefix(name.size());
  return true;
}

// Cuts one segment, whatever it is called.
bool cut_any(std::string_view& path) {
  if (path.size() < 2 || path[0] != '/' || path[1] == '/') return false;
  path.remove_prefix(std::min(path.find('/', 1), path.size()));
  return true;
}

bool cut_deployment(std::string_view& path) {
  if (cut(path, "/production") || cut(path, "/development")) return true;
  return (cut(path, "/environments") || cut(path, "/deployment")) && cut_any(path);
}

}  // namespace

std::string route_path(std::string_view path) {
  std::string_view rest = path;
  if (!cut_deployment(rest)) return std::string(path);
  if (rest == "/predict") return "/";
  if (!cut(rest, "/sync")) return std::string(path);
  return rest.empty() ? "/" : std::string(rest);
}

ErrorStyle error_style(std::string_view path) {
  const std::string route = route_path(path);
  return std::ranges::find(kTeiRoutes, route) != kTeiRoutes.end() ? ErrorStyle::kTei
                                                                  : ErrorStyle::kOpenAI;
}

bool is_probe(std::string_view path) {
  return std::ranges::find(kProbes, route_path(path)) != kProbes.end();
}

}  // namespace millrace
