// Logging: spdlog's functions under our names. Never log payloads, keys or signed addresses.
#pragma once

#include <spdlog/spdlog.h>

namespace millrace::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

}  // namespace millrace::log
