// KernelCache: compiled kernels in a folder of the user, found by all that went into them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "kernels/cuda/compiled_kernel.h"

namespace millrace::cuda {

// A damaged or foreign file is no entry; what cannot be written is not kept. Any number of
// processes may share the folder.
class KernelCache {
 public:
  explicit KernelCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // MILLRACE_CACHE_DIR, else XDG_CACHE_HOME/millrace, else ~/.cache/millrace; there `kernels`.
  static KernelCache of_user();

  // `key`: a digest of text, instance, architecture and compiler.
  std::optional<CompiledKernel> find(const std::string& key) const;
  void store(const std::string& key, const CompiledKernel& kernel) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace millrace::cuda
