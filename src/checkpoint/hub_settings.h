// HubSettings: which hub, with which credentials, into which cache; from the environment.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/web_client.h"

namespace millrace {

struct HubSettings {
  std::string endpoint = "https://huggingface.co";  // without a slash at its end
  std::filesystem::path cache;                      // the folder of models--org--name
  std::string token;                                // empty: none
  std::string token_origin;                         // "HF_TOKEN" or a path, for messages
  bool offline = false;                             // the cache alone

  WebOptions web;
  int num_connections = 8;
  uint64_t piece_bytes = 8 * 1024 * 1024;   // of a large file, per request; held in memory
  int max_tries = 6;                        // of a request that makes no progress
  std::chrono::milliseconds backoff{1000};  // before the second try; doubles with each one
  std::chrono::seconds max_wait{300};       // that a Retry-After may ask for

  // The variables that huggingface_hub reads, and a token mounted as /secrets/<secret_name>
  // (`secrets` is that folder). Throws Error{kInvalidArgument} naming the variable.
  using Environment = std::function<std::optional<std::string>(const char* name)>;
  static HubSettings from_environment(const Environment& environment,
                                      std::string_view secret_name = "hf_access_token",
                                      const std::filesystem::path& secrets = "/secrets");
};

// This process's variables.
std::optional<std::string> process_environment(const char* name);

}  // namespace millrace
