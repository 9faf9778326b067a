// Any bytes as config.yaml: findings or a configuration, and both can be printed.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "config/config_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  millrace::Diagnostics diagnostics;
  const millrace::ConfigFile config = millrace::parse_config(
      {reinterpret_cast<const char*>(data), size}, "fuzz/config.yaml", diagnostics);
  millrace::render(diagnostics, true);
  millrace::to_json(diagnostics);
  if (!diagnostics.has_errors()) {
    to_string(config.build);
    to_string(config.runtime);
  }
  return 0;
}
