// Where NVIDIA's libraries are looked for.
#pragma once

#include <string>
#include <vector>

#include "base/dynamic_library.h"

namespace millrace::cuda {

// In this order: the folder that MILLRACE_CUDA_PATH names (or its lib or lib64), the system's
// search path, the toolkit that this library was built with, /usr/local/cuda. Throws
// Error{kUnsupported} that says `purpose` and names `package`, which holds it.
DynamicLibrary open_nvidia_library(const std::string& soname, const std::string& purpose,
                                   const std::string& package);

}  // namespace millrace::cuda
