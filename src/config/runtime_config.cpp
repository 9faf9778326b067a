// RuntimeConfig's printed form.
#include "config/runtime_config.h"

#include <fmt/format.h>

namespace millrace {

std::string to_string(const RuntimeConfig& config) {
  return fmt::format(
      "served_model_name: {}\nwebserver_default_route: {}\nhost: {}\nport: {}\ndevice: {}\n"
      "dtype: {}\nnum_threads: {}\nmax_client_batch_size: {}\nmax_concurrent_requests: {}\n"
      "max_body_bytes: {}\ntruncate: {}\ndrain_timeout_s: {}\n",
      config.served_model_name, config.webserver_default_route, config.host, config.port,
      config.device ? to_string(*config.device) : "auto", to_string(config.dtype),
      config.num_threads, config.max_client_batch_size, config.max_concurrent_requests,
      config.max_body_bytes, config.truncate, config.drain_timeout_s);
}

}  // namespace millrace
