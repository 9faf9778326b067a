// RuntimeConfig: how to serve, as `trt_llm.runtime`, `millrace:` and the flags of `serve` say it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace millrace {

struct RuntimeConfig {
  std::string served_model_name;        // `model` of replies; empty: the engine's own name
  std::string webserver_default_route;  // what POST / answers; empty: chosen by the architecture
  std::string host = "127.0.0.1";       // address to listen on
  int port = 8000;                      // 0: any free one
  std::optional<Device> device;         // absent (auto): a GPU where there is one, else the CPU
  ComputeDType dtype = ComputeDType::kAuto;  // auto: what the engine was built for
  int num_threads = 0;                       // compute threads; 0: one per available core

  // Limits on what clients send.
  int max_client_batch_size = 128;             // inputs per request
  int max_concurrent_requests = 2048;          // beyond: 429
  int64_t max_body_bytes = 100 * 1000 * 1000;  // per request; beyond: 413
  bool truncate = true;      // over-length input is cut and told; false: it is an error
  int drain_timeout_s = 30;  // s; how long SIGTERM waits for requests in flight

  bool operator==(const RuntimeConfig&) const = default;
};

std::string to_string(const RuntimeConfig& config);  // one line per setting

}  // namespace millrace
