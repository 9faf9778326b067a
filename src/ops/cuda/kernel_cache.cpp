// A file per kernel: a line of JSON with its resources and digest, then the machine code.
#include "ops/cuda/kernel_cache.h"

#include <unistd.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"

namespace millrace::cuda {

namespace fs = std::filesystem;

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

KernelCache KernelCache::of_user() {
  if (const std::string own = variable("MILLRACE_CACHE_DIR"); !own.empty())
    return KernelCache(fs::path(own) / "kernels");
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    return KernelCache(fs::path(cache) / "millrace" / "kernels");
  const std::string home = variable("HOME");
  return KernelCache(fs::path(home.empty() ? "/" : home) / ".cache" / "millrace" / "kernels");
}

std::optional<CompiledKernel> KernelCache::find(const std::string& key) const {
  const fs::path path = folder_ / key;
  std::error_code absent;
  if (!fs::is_regular_file(path, absent)) return std::nullopt;
  try {
    const std::string bytes = read_file(path.string());
    const size_t end = bytes.find('\n');
    if (end == std::string::npos) return std::nullopt;
    const json::value head = json::parse(std::string_view(bytes).substr(0, end), path.string());
    const json::Reader reader(json::as_object(head, path.string()), path.string());
    const auto number = [&](const char* field) {
      return static_cast<int>(reader.require_integer(field, 0, 1 << 20));
    };
    CompiledKernel kernel{
        .binary = {.name = reader.require_string("name"), .cubin = bytes.substr(end + 1)},
        .resources = {.registers = number("registers"),
                      .shared_bytes = number("shared_bytes"),
                      .stack_bytes = number("stack_bytes"),
                      .spill_bytes = number("spill_bytes")}};
    if (reader.require_string("sha256") != sha256_hex(kernel.binary.cubin)) return std::nullopt;
    return kernel;
  } catch (const Error& error) {
    log::warn("a compiled kernel is ignored: {}", error.message());
    return std::nullopt;
  }
}

void KernelCache::store(const std::string& key, const CompiledKernel& kernel) const {
  const std::string head =
      json::to_text(json::object{{"name", kernel.binary.name},
                                 {"registers", kernel.resources.registers},
                                 {"shared_bytes", kernel.resources.shared_bytes},
                                 {"stack_bytes", kernel.resources.stack_bytes},
                                 {"spill_bytes", kernel.resources.spill_bytes},
                                 {"sha256", sha256_hex(kernel.binary.cubin)}});
  const fs::path written = folder_ / fmt::format("{}.{}", key, ::getpid());
  try {
    fs::create_directories(folder_);
    write_file(written.string(), head + "\n" + kernel.binary.cubin);
    fs::rename(written, folder_ / key);
  } catch (const std::exception& error) {
    log::warn("the kernel cache cannot be written: {}", error.what());
    std::error_code absent;
    fs::remove(written, absent);  // a full disk leaves a part
  }
}

}  // namespace millrace::cuda
