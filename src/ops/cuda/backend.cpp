// The one function that the library exports, and what it hands out.
#include <map>
#include <mutex>

#include "base/hash.h"
#include "base/version.h"
#include "ops/cuda/cuda_ops.h"
#include "ops/cuda/kernel_cache.h"
#include "ops/cuda/kernel_compiler.h"
#include "ops/cuda/kernel_sources.h"

namespace millrace::cuda {

namespace {

class Backend : public CudaBackend {
 public:
  std::string compiler() override { return nvrtc().version(); }

  std::string kernel_sources_digest() override { return cuda::kernel_sources_digest(); }

  CompiledKernel compile(const KernelInstance& instance, Arch arch) override {
    const KernelCompiler& compiler = nvrtc();
    const std::string key = sha256_hex(fmt::format("{}\n{}\n{}\n{}\n", digest_, instance.name(),
                                                   to_string(arch), compiler.version()));
    const KernelCache cache = KernelCache::of_user();
    if (auto kept = cache.find(key)) return *std::move(kept);
    CompiledKernel compiled = compiler.compile(instance, arch);
    cache.store(key, compiled);
    return compiled;
  }

  std::vector<Gpu> gpus() override { return list_gpus(driver()); }

  std::unique_ptr<Ops> make_ops(const CudaOpsOptions& options) override {
    return CudaOps::make(driver(), options);
  }

  Buffer allocate(int device, int64_t bytes) override { return context_of(device).allocate(bytes); }

  void copy(int device, void* to, const void* from, int64_t bytes) override {
    const GpuContext& context = context_of(device);
    context.make_current();
    MILLRACE_CUDA(context.driver(), context_synchronize());
    MILLRACE_CUDA(context.driver(),
                  copy(address_of(to), address_of(from), static_cast<size_t>(bytes)));
  }

 private:
  const GpuContext& context_of(int device) {
    std::unique_ptr<GpuContext>& context = contexts_[device];
    if (!context) context = std::make_unique<GpuContext>(driver(), device);
    context->make_current();
    return *context;
  }

  const KernelCompiler& nvrtc() {
    const std::lock_guard lock(mutex_);
    if (!compiler_) compiler_.emplace();
    return *compiler_;
  }

  const Driver& driver() {
    const std::lock_guard lock(mutex_);
    if (!driver_) driver_ = Driver::load();
    return *driver_;
  }

  std::string digest_ = cuda::kernel_sources_digest();
  std::mutex mutex_;
  std::optional<KernelCompiler> compiler_;               // guarded by mutex_ until set
  std::optional<Driver> driver_;                         // guarded by mutex_ until set
  std::map<int, std::unique_ptr<GpuContext>> contexts_;  // of allocate() and copy()
};

}  // namespace

}  // namespace millrace::cuda

// nullptr for a program of another version.
extern "C" __attribute__((visibility("default"))) millrace::CudaBackend* millrace_cuda_backend(
    const char* version) {
  if (version != millrace::kVersion) return nullptr;
  static millrace::cuda::Backend backend;
  return &backend;
}
