// Finding and opening of the CUDA library.
#include "ops/cuda_backend.h"

#include <cstdlib>
#include <filesystem>

#include "base/dynamic_library.h"
#include "base/version.h"

namespace millrace {

namespace {

constexpr const char* kFile = "libmillrace_cuda.so";

std::vector<std::string> candidates() {
  if (const char* path = std::getenv("MILLRACE_CUDA_BACKEND"); path && *path) return {path};
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  std::vector<std::string> found;
  if (!error) {
    const auto folder = program.parent_path();
    found = {folder / kFile, folder.parent_path() / "lib" / kFile};
  }
  found.emplace_back(kFile);
  return found;
}

}  // namespace

CudaBackend& load_cuda_backend() {
  const DynamicLibrary library = DynamicLibrary::open(candidates());
  if (!library) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the CUDA backend cannot be loaded: {}", library.problem()),
                "put libmillrace_cuda.so of this version beside the program (from source: `make "
                "setup-gpu build`), or use --device cpu");
  }
  using Make = CudaBackend* (*)(const char*);
  const auto make = reinterpret_cast<Make>(library.find("millrace_cuda_backend"));
  CudaBackend* backend = make ? make(std::string(kVersion).c_str()) : nullptr;
  if (backend) return *backend;
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("{} is of another version than this program ({})", library.path(), kVersion),
      "use the library that was built with this program");
}

cuda::KernelArchive compile_kernels(
    CudaBackend& backend, std::span<const cuda::KernelInstance> instances, cuda::Arch arch,
    const std::function<void(size_t, size_t, const std::string&)>& progress) {
  cuda::KernelArchive archive{.arch = arch,
                              .compiler = backend.compiler(),
                              .sources_digest = backend.kernel_sources_digest()};
  for (const cuda::KernelInstance& instance : instances) {
    if (progress) progress(archive.kernels.size(), instances.size(), instance.name());
    archive.kernels.push_back(backend.compile(instance, arch).binary);
  }
  return archive;
}

}  // namespace millrace
