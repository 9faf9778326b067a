// Paths: the names under which hosting platforms put our routes, and whose API a route belongs to.
#pragma once

#include <string>
#include <string_view>

#include "server/request_error.h"

namespace millrace {

// The route that a path of Baseten's URLs means: "/environments/production/sync/v1/embeddings" is
// "/v1/embeddings", "/production/predict" is "/". Other paths stay as they are.
std::string route_path(std::string_view path);

// How errors under a path are worded: TEI's routes in its way, all else in OpenAI's.
ErrorStyle error_style(std::string_view path);

// Whether a path answers everybody, with a status and no more: /live, /ready, /health, /ping.
bool is_probe(std::string_view path);

}  // namespace millrace
