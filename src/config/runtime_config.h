// RuntimeConfig: how to serve, as `trt_llm.runtime`, `millrace:` and the flags of `serve` say it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace millrace {

// Who may ask.
struct AccessConfig {
  std::string api_key;                 // one key; empty: none
  std::string api_key_file;            // a file of keys, one a line; empty: none
  bool allow_unauthenticated = false;  // listen beyond this machine without a key

  bool operator==(const AccessConfig&) const = default;
};

// What one client may send, and how long it may take.
struct ClientLimits {
  int max_client_batch_size = 128;               // inputs per request
  int max_concurrent_requests = 2048;            // in work; beyond: 429
  int max_queue_time_s = 10;                     // s; in the queue, estimated; beyond: 429
  int max_connections = 4096;                    // beyond: 503
  int64_t max_body_bytes = 100'000'000;          // per request; beyond: 413
  int64_t max_total_body_bytes = 1'000'000'000;  // of all requests in work; beyond: 503
  int max_header_bytes = 65536;                  // request line and headers; beyond: 431
  int max_json_depth = 32;                       // nested arrays and objects; beyond: 400
  int header_timeout_s = 10;                     // s; first byte to last header
  int body_timeout_s = 60;                       // s; without a byte of the body
  int idle_timeout_s = 75;                       // s; between requests of a connection
  int request_timeout_s = 1200;                  // s; received to answered; beyond: 504

  bool operator==(const ClientLimits&) const = default;
};

// Which requests of a text generator run, in the words of TensorRT-LLM.
enum class BatchSchedulerPolicy : uint8_t {
  kGuaranteedNoEvict,  // admits what can finish: all blocks it may ever need are promised
  kMaxUtilization,     // admits what fits now, and preempts the last one when blocks run out
};

// How text is generated; without effect on encoders.
struct GenerationSettings {
  double kv_cache_free_gpu_mem_fraction = 0.9;        // of what is free once the weights are placed
  std::optional<int64_t> kv_cache_bytes;              // instead of a fraction; on the CPU too
  std::optional<int64_t> kv_cache_host_memory_bytes;  // for blocks that make room; absent: none
  int64_t kv_block_size = 32;                         // tokens
  bool enable_chunked_context = true;                 // false: a prompt is computed in one step
  BatchSchedulerPolicy batch_scheduler_policy = BatchSchedulerPolicy::kGuaranteedNoEvict;
  std::optional<int64_t> request_default_max_tokens;  // absent: up to max_seq_len
  int64_t total_token_limit = 500'000;  // that all running sequences may grow to together

  bool operator==(const GenerationSettings&) const = default;
};

enum class LogFormat : uint8_t { kAuto, kText, kJson };  // auto: text on a terminal, else JSON
enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };

struct RuntimeConfig {
  std::string served_model_name;        // `model` of replies; empty: the engine's own name
  std::string webserver_default_route;  // what POST / answers; empty: chosen by the architecture
  std::string host = "127.0.0.1";       // address to listen on
  int port = 8000;                      // 0: any free one
  std::optional<Device> device;         // absent (auto): a GPU where there is one, else the CPU
  ComputeDType dtype = ComputeDType::kAuto;  // auto: what the engine was built for
  bool deterministic = false;  // on a GPU: a result's bits depend on its own input alone
  bool enforce_eager = false;  // on a GPU: no step is recorded and replayed
  int num_threads = 0;         // compute threads; 0: one per available core

  GenerationSettings generation;
  AccessConfig access;
  ClientLimits limits;
  bool truncate = true;              // over-length input is cut and told; false: it is an error
  bool strict_fields = false;        // an unknown field is an error; false: told in a header
  bool force_include_usage = false;  // every stream ends with its usage
  int drain_timeout_s = 30;          // s; how long SIGTERM waits for requests in flight
  LogFormat log_format = LogFormat::kAuto;
  LogLevel log_level = LogLevel::kInfo;

  bool operator==(const RuntimeConfig&) const = default;
};

std::string to_string(const RuntimeConfig& config);  // one line per setting; no keys

std::string_view to_string(BatchSchedulerPolicy policy);
std::string_view to_string(LogFormat format);
std::string_view to_string(LogLevel level);

}  // namespace millrace
