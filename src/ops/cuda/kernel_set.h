// KernelSet: the kernels of an engine, loaded on a GPU and launched by instance.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/kernel_choice.h"
#include "ops/cuda/gpu_context.h"

namespace millrace::cuda {

class KernelSet {
 public:
  // Loads all of them at once, so that no step does.
  KernelSet(const GpuContext& context, const std::vector<KernelBinary>& kernels);
  ~KernelSet();
  KernelSet(const KernelSet&) = delete;
  KernelSet& operator=(const KernelSet&) = delete;

  // Enqueues one launch; `arguments` is the kernel's one parameter.
  template <typename Arguments>
  void launch(const KernelLaunch& launch, const Arguments& arguments, CUstream stream) const {
    enqueue(launch, const_cast<Arguments*>(&arguments), stream);
  }

 private:
  struct Loaded {
    std::string name;
    CUlibrary library = nullptr;
    CUkernel kernel = nullptr;
  };

  CUkernel find(const KernelLaunch& launch) const;
  void enqueue(const KernelLaunch& launch, void* arguments, CUstream stream) const;

  const GpuContext& context_;
  std::vector<Loaded> loaded_;
  // What was asked for before: comparing instances is faster than comparing names.
  mutable std::vector<std::pair<KernelInstance, CUkernel>> found_;
};

}  // namespace millrace::cuda
