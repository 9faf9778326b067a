// Logging: spdlog's functions under our names. Never log payloads, keys or signed addresses.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

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

// `text` fit to stand between the quotes of a JSON string.
std::string escape_json(std::string_view text);

}  // namespace millrace::log
