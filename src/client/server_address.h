// How a server of the OpenAI API is reached: its routes, its key, its model.
#pragma once

#include <string>
#include <string_view>

#include "http/base_url.h"
#include "http/message.h"

namespace millrace {

// The server's prefix with the route behind it; a prefix that ends in /v1, as OpenAI's clients want
// it, does not get a second one.
std::string route_path(const http::BaseUrl& server, std::string_view route);

// `given`, or MILLRACE_API_KEY or OPENAI_API_KEY of the environment, as a header; none without.
http::Headers key_headers(std::string_view given);

// The first model that the server lists; empty where it has no such route. Throws what
// http::Client throws when nobody answers.
std::string served_model(const http::BaseUrl& server, const http::Headers& headers);

}  // namespace millrace
