// The digest over the texts.
#include "ops/cuda/kernel_sources.h"

#include <fmt/core.h>

#include "base/hash.h"

namespace millrace::cuda {

std::string kernel_sources_digest() {
  Sha256 digest;
  for (const KernelSource& source : kernel_sources()) {
    digest.update(fmt::format("{} {}\n", source.name, source.text.size()));
    digest.update(source.text);
  }
  return digest.hex_digest();
}

}  // namespace millrace::cuda
