// The driver's library-management API: no module, no lowered names.
#include "ops/cuda/kernel_set.h"

#include <algorithm>

namespace millrace::cuda {

namespace {

constexpr int kSharedBytesWithoutAsking = 48 * 1024;  // of a block; more must be opted into

}  // namespace

KernelSet::KernelSet(const GpuContext& context, const std::vector<KernelBinary>& kernels)
    : context_(context) {
  const Driver& driver = context_.driver();
  for (const KernelBinary& compiled : kernels) {
    Loaded& loaded = loaded_.emplace_back();
    loaded.name = compiled.name;
    const CUresult result = driver.library_load(&loaded.library, compiled.cubin.data(), nullptr,
                                                nullptr, 0, nullptr, nullptr, 0);
    CHECK(result == CUDA_SUCCESS, "{} does not load: {}", compiled.name, driver.describe(result));
    MILLRACE_CUDA(driver, library_kernels(&loaded.kernel, 1, loaded.library));
  }
}

KernelSet::~KernelSet() {
  for (const Loaded& loaded : loaded_) context_.driver().library_unload(loaded.library);
}

CUkernel KernelSet::find(const KernelLaunch& launch) const {
  for (const auto& [known, kernel] : found_) {
    if (known == launch.instance) return kernel;
  }
  const std::string name = launch.instance.name();
  const auto loaded = std::ranges::find(loaded_, name, &Loaded::name);
  CHECK(loaded != loaded_.end(), "the engine has no kernel {}: the plan did not trace it", name);
  if (launch.shared_bytes > kSharedBytesWithoutAsking) {
    const Driver& driver = context_.driver();
    CUdevice device = 0;
    MILLRACE_CUDA(driver, device_get(&device, context_.gpu().index));
    MILLRACE_CUDA(driver, kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                               launch.shared_bytes, loaded->kernel, device));
  }
  found_.emplace_back(launch.instance, loaded->kernel);
  return loaded->kernel;
}

void KernelSet::enqueue(const KernelLaunch& launch, void* arguments, CUstream stream) const {
  const Driver& driver = context_.driver();
  CUlaunchConfig config{};
  config.gridDimX = static_cast<unsigned>(launch.grid_x);
  config.gridDimY = static_cast<unsigned>(launch.grid_y);
  config.gridDimZ = 1;
  config.blockDimX = static_cast<unsigned>(launch.threads);
  config.blockDimY = 1;
  config.blockDimZ = 1;
  config.sharedMemBytes = static_cast<unsigned>(launch.shared_bytes);
  config.hStream = stream;
  void* parameters[] = {arguments};
  const CUresult result =
      driver.launch(&config, reinterpret_cast<CUfunction>(find(launch)), parameters, nullptr);
  if (result != CUDA_SUCCESS) driver.check(result, launch.instance.name().c_str());
}

}  // namespace millrace::cuda
