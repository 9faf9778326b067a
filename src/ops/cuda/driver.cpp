// Looking up, starting, and telling errors apart.
#include "ops/cuda/driver.h"

#include "base/dynamic_library.h"
#include "ops/cuda_backend.h"

namespace millrace::cuda {

namespace {

constexpr int kNeededVersion = 13000;  // machine code of NVRTC 13 needs a driver of CUDA 13
constexpr const char* kUpdate = "install NVIDIA's driver 580 or later, or use --device cpu";

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

[[noreturn]] void refuse(const std::string& problem, const char* remedy = kUpdate) {
  throw Error(ErrorCode::kUnsupported, problem, remedy);
}

}  // namespace

Driver Driver::load() {
  const std::string names[] = {"libcuda.so.1"};
  const DynamicLibrary library = DynamicLibrary::open(names);
  if (!library) refuse("there is no NVIDIA driver on this machine (libcuda.so.1)");
  using GetProcAddress = decltype(&::cuGetProcAddress);
  const auto get = reinterpret_cast<GetProcAddress>(library.find("cuGetProcAddress_v2"));
  if (!get) refuse("NVIDIA's driver on this machine is older than CUDA 12");
  Driver driver;
  const auto look_up = [&]<typename F>(F& entry, const char* name, int version) {
    void* found = nullptr;
    if (get(name, &found, version, CU_GET_PROC_ADDRESS_DEFAULT, nullptr) != CUDA_SUCCESS || !found)
      refuse(fmt::format("NVIDIA's driver on this machine has no {}", name));
    entry = reinterpret_cast<F>(found);
  };
#define MILLRACE_ENTRY(name, function, version) look_up(driver.name, #function, version);
  MILLRACE_CUDA_ENTRY_POINTS(MILLRACE_ENTRY)
#undef MILLRACE_ENTRY
  int version = 0;
  if (driver.driver_version(&version) != CUDA_SUCCESS || version < kNeededVersion) {
    refuse(fmt::format("NVIDIA's driver on this machine supports CUDA {}; the kernels need {}",
                       version_text(version), version_text(kNeededVersion)));
  }
  int count = 0;
  const CUresult started = driver.init(0);
  if (started == CUDA_ERROR_NO_DEVICE ||
      (started == CUDA_SUCCESS && driver.device_count(&count) == CUDA_SUCCESS && count == 0))
    refuse("there is no NVIDIA GPU on this machine, or none is visible to this process",
           "check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu");
  if (started != CUDA_SUCCESS)
    refuse(fmt::format("NVIDIA's driver does not start: {}", driver.describe(started)));
  return driver;
}

std::string Driver::describe(CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  error_name(result, &name);
  error_text(result, &text);
  return fmt::format("{} ({})", name ? name : "unknown error", text ? text : "no description");
}

void Driver::check(CUresult result, const char* call) const {
  if (result == CUDA_SUCCESS) return;
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_UNKNOWN:
      throw DeviceLost(ErrorCode::kUnavailable,
                       fmt::format("the GPU failed: {} in {}", describe(result), call),
                       "restart the server; nvidia-smi shows whether the GPU is well");
    default: CHECK(false, "{}: {}", call, describe(result));
  }
}

}  // namespace millrace::cuda
