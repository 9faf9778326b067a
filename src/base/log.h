// Logging: spdlog's functions under our names. Never log payloads, keys or signed addresses.
#pragma once

#include <spdlog/spdlog.h>

namespace millrace::log {

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

// How lines look on standard error.
enum class Form {
  kText,  // 2026-01-31T12:00:00.000 info message
  kJson,  // {"ts":"2026-01-31T12:00:00.000Z","level":"info","msg":"message"}
};

// For the program's start: libraries only log.
void configure(Form form, spdlog::level::level_enum level);

}  // namespace millrace::log
