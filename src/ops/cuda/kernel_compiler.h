// KernelCompiler: NVRTC, opened on first use. Needs neither a GPU nor a toolkit.
#pragma once

#include <nvrtc.h>

#include <string>

#include "base/dynamic_library.h"
#include "kernels/cuda/arch.h"
#include "kernels/cuda/compiled_kernel.h"
#include "kernels/cuda/kernel_instance.h"

namespace millrace::cuda {

class KernelCompiler {
 public:
  // Throws Error{kUnsupported} with the remedy when NVRTC is not there.
  KernelCompiler();

  std::string version() const { return version_; }  // "nvrtc 13.0"

  // The same text, instance, architecture and version give the same bytes. Throws InternalError
  // with the compiler's messages when the text is wrong.
  CompiledKernel compile(const KernelInstance& instance, Arch arch) const;

 private:
  // The functions of nvrtc.h by name.
  struct Api {
    decltype(&::nvrtcVersion) version = nullptr;
    decltype(&::nvrtcGetErrorString) error_text = nullptr;
    decltype(&::nvrtcCreateProgram) create = nullptr;
    decltype(&::nvrtcDestroyProgram) destroy = nullptr;
    decltype(&::nvrtcAddNameExpression) add_name = nullptr;
    decltype(&::nvrtcCompileProgram) compile = nullptr;
    decltype(&::nvrtcGetProgramLogSize) log_size = nullptr;
    decltype(&::nvrtcGetProgramLog) log = nullptr;
    decltype(&::nvrtcGetCUBINSize) cubin_size = nullptr;
    decltype(&::nvrtcGetCUBIN) cubin = nullptr;
  };

  void check(nvrtcResult result, const char* call) const;

  DynamicLibrary library_;
  Api api_;
  std::string version_;
};

}  // namespace millrace::cuda
