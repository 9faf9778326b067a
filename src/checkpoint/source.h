// Source: where a checkpoint is fetched from.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "config/build_config.h"

namespace millrace {

// Told while files arrive: the file, bytes of all files done, bytes of all files.
using FetchProgress = std::function<void(const std::string& file, uint64_t done, uint64_t total)>;

class Source {
 public:
  virtual ~Source() = default;

  // Makes the checkpoint available as a local directory and returns its path.
  virtual std::filesystem::path fetch(const FetchProgress& progress) = 0;

  // The same without weights: what a plan, or a look at the architecture before a long download,
  // needs.
  virtual std::filesystem::path fetch_configs(const FetchProgress& progress) = 0;
};

// Throws Error{kUnsupported} for kinds that this version cannot fetch, with the remedy. A hub's
// address, cache and token come from the environment; see docs/sources.md.
std::unique_ptr<Source> open_source(const ModelSource& source);

}  // namespace millrace
