// The folders, and the sentence when none of them has the library.
#include "ops/cuda/library_path.h"

#include <cstdlib>

#include "base/error.h"

namespace millrace::cuda {

DynamicLibrary open_nvidia_library(const std::string& soname, const std::string& purpose,
                                   const std::string& package) {
  std::vector<std::string> candidates;
  if (const char* path = std::getenv("MILLRACE_CUDA_PATH"); path && *path) {
    for (const char* folder : {"/", "/lib/", "/lib64/"})
      candidates.push_back(path + std::string(folder) + soname);
  }
  candidates.push_back(soname);
  candidates.push_back(MILLRACE_CUDA_TOOLKIT_LIBRARIES "/" + soname);
  candidates.push_back("/usr/local/cuda/lib64/" + soname);
  const DynamicLibrary library = DynamicLibrary::open(candidates);
  if (library) return library;
  throw Error(
      ErrorCode::kUnsupported, fmt::format("{} needs {}, which was not found", purpose, soname),
      fmt::format("install CUDA 13 or the Python package {}, and name the folder of the library in "
                  "MILLRACE_CUDA_PATH",
                  package));
}

}  // namespace millrace::cuda
