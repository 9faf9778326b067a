// Baseten's prefixes, and whose API a path belongs to.
#include "server/paths.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace millrace {
namespace {

TEST(RoutePath, CutsThePrefixesOfAHostingPlatform) {
  const std::vector<std::pair<const char*, const char*>> rows = {
      {"/v1/embeddings", "/v1/embeddings"},
      {"/environments/production/sync/v1/embeddings", "/v1/embeddings"},
      {"/environments/my-env/sync/rerank", "/rerank"},
      {"/production/sync/predict", "/predict"},
      {"/development/sync/v1/models/a", "/v1/models/a"},
      {"/deployment/abc123/sync/openapi.json", "/openapi.json"},
      {"/deployment/abc123/predict", "/"},
      {"/environments/production/predict", "/"},
      {"/production/sync", "/"},
      {"/production/sync/", "/"},
      // not these prefixes
      {"/", "/"},
      {"", ""},
      {"/predict", "/predict"},
      {"/production", "/production"},
      {"/productions/sync/predict", "/productions/sync/predict"},
      {"/environments/sync/predict", "/"},  // an environment whose name is sync
      {"/environments//sync/predict", "/environments//sync/predict"},
      {"/environments", "/environments"},
      {"/production/async/predict", "/production/async/predict"},
      {"/production/syncs/predict", "/production/syncs/predict"},
      {"/sync/predict", "/sync/predict"},
  };
  for (const auto& [path, route] : rows) EXPECT_EQ(route_path(path), route) << path;
}

TEST(ErrorStyle, FollowsTheRoute) {
  EXPECT_EQ(error_style("/rerank"), ErrorStyle::kTei);
  EXPECT_EQ(error_style("/environments/x/sync/embed_all"), ErrorStyle::kTei);
  EXPECT_EQ(error_style("/v1/rerank"), ErrorStyle::kOpenAI);
  EXPECT_EQ(error_style("/v1/embeddings"), ErrorStyle::kOpenAI);
  EXPECT_EQ(error_style("/nothing"), ErrorStyle::kOpenAI);
}

TEST(Probes, AreFew) {
  for (const char* path : {"/live", "/ready", "/health", "/ping"}) EXPECT_TRUE(is_probe(path));
  for (const char* path : {"/", "/info", "/metrics", "/healthz", "/v1/models", "/live/x", ""})
    EXPECT_FALSE(is_probe(path)) << path;
}

}  // namespace
}  // namespace millrace
