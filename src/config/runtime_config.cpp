// RuntimeConfig's printed form.
#include "config/runtime_config.h"

#include <fmt/format.h>

namespace millrace {

std::string_view to_string(BatchSchedulerPolicy policy) {
  switch (policy) {
    case BatchSchedulerPolicy::kGuaranteedNoEvict: return "guaranteed_no_evict";
    case BatchSchedulerPolicy::kMaxUtilization: return "max_utilization";
  }
  return "?";
}

std::string_view to_string(LogFormat format) {
  switch (format) {
    case LogFormat::kAuto: return "auto";
    case LogFormat::kText: return "text";
    case LogFormat::kJson: return "json";
  }
  return "?";
}

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarn: return "warn";
    case LogLevel::kError: return "error";
  }
  return "?";
}

namespace {

std::string to_string(const GenerationSettings& settings) {
  const auto number = [](const std::optional<int64_t>& value, const char* otherwise) {
    return value ? std::to_string(*value) : otherwise;
  };
  return fmt::format(
      "kv_cache_free_gpu_mem_fraction: {}\nkv_cache_bytes: {}\nkv_cache_host_memory_bytes: {}\n"
      "kv_block_size: {}\nenable_chunked_context: {}\nbatch_scheduler_policy: {}\n"
      "request_default_max_tokens: {}\ntotal_token_limit: {}\n",
      settings.kv_cache_free_gpu_mem_fraction, number(settings.kv_cache_bytes, "by fraction"),
      number(settings.kv_cache_host_memory_bytes, "none"), settings.kv_block_size,
      settings.enable_chunked_context, to_string(settings.batch_scheduler_policy),
      number(settings.request_default_max_tokens, "none"), settings.total_token_limit);
}

}  // namespace

std::string to_string(const RuntimeConfig& config) {
  const AccessConfig& access = config.access;
  const ClientLimits& limits = config.limits;
  return fmt::format(
             "served_model_name: {}\nwebserver_default_route: {}\nhost: {}\nport: {}\ndevice: {}\n"
             "dtype: {}\ndeterministic: {}\nenforce_eager: {}\nnum_threads: {}\n",
             config.served_model_name, config.webserver_default_route, config.host, config.port,
             config.device ? to_string(*config.device) : "auto", to_string(config.dtype),
             config.deterministic, config.enforce_eager, config.num_threads) +
         to_string(config.generation) +
         fmt::format("api_key: {}\napi_key_file: {}\nallow_unauthenticated: {}\n",
                     access.api_key.empty() ? "" : "***", access.api_key_file,
                     access.allow_unauthenticated) +
         fmt::format(
             "max_client_batch_size: {}\nmax_concurrent_requests: {}\nmax_queue_time_s: {}\n"
             "max_connections: {}\n"
             "max_body_bytes: {}\nmax_total_body_bytes: {}\nmax_header_bytes: {}\n"
             "max_json_depth: {}\nheader_timeout_s: {}\nbody_timeout_s: {}\nidle_timeout_s: {}\n"
             "request_timeout_s: {}\n",
             limits.max_client_batch_size, limits.max_concurrent_requests, limits.max_queue_time_s,
             limits.max_connections, limits.max_body_bytes, limits.max_total_body_bytes,
             limits.max_header_bytes, limits.max_json_depth, limits.header_timeout_s,
             limits.body_timeout_s, limits.idle_timeout_s, limits.request_timeout_s) +
         fmt::format(
             "truncate: {}\nstrict_fields: {}\nforce_include_usage: {}\ndrain_timeout_s: {}\n",
             config.truncate, config.strict_fields, config.force_include_usage,
             config.drain_timeout_s) +
         fmt::format("log_format: {}\nlog_level: {}\n", to_string(config.log_format),
                     to_string(config.log_level));
}

}  // namespace millrace
