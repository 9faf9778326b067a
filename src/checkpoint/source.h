// Source: where a checkpoint is fetched from.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "config/build_config.h"

namespace millrace {

// Told while files arrive: the file, bytes done, bytes in all.
using FetchProgress = std::function<void(const std::string& file, uint64_t done, uint64_t total)>;

class Source {
 public:
  virtual ~Source() = default;

  // Makes the checkpoint available as a local directory and returns its path.
  virtual std::filesystem::path fetch(const FetchProgress& progress) = 0;
};

// Throws Error{kUnsupported} for kinds that this version cannot fetch, with the remedy.
std::unique_ptr<Source> open_source(const ModelSource& source);

}  // namespace millrace
