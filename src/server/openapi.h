// The OpenAPI document of the server: openapi.json beside this file, built into the program.
#pragma once

#include <string_view>

namespace millrace {

std::string_view openapi_document();

}  // namespace millrace
