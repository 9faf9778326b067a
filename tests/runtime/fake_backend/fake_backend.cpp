// A CUDA library without CUDA: GPUs as MILLRACE_FAKE_GPUS lists them ("NVIDIA T4:75,..."), on which
// nothing can be computed. For tests of what is chosen and what is refused.
#include <cstdlib>
#include <sstream>

#include "ops/cuda_backend.h"

namespace millrace {
namespace {

class FakeBackend : public CudaBackend {
 public:
  std::string compiler() override { return "none"; }
  std::string kernel_sources_digest() override { return "fake sources"; }
  cuda::CompiledKernel compile(const cuda::KernelInstance& instance, cuda::Arch) override {
    return {.binary = {.name = instance.name()}};
  }

  std::vector<Gpu> gpus() override {
    std::vector<Gpu> found;
    std::istringstream list(std::getenv("MILLRACE_FAKE_GPUS"));
    for (std::string entry; std::getline(list, entry, ',');) {
      const size_t colon = entry.find(':');
      found.push_back({.index = static_cast<int>(found.size()),
                       .name = entry.substr(0, colon),
                       .capability = std::stoi(entry.substr(colon + 1))});
    }
    return found;
  }

  std::unique_ptr<Ops> make_ops(const CudaOpsOptions& options) override {
    throw Error(ErrorCode::kUnsupported, fmt::format("reached cuda:{} with kernels for {}",
                                                     options.device, to_string(options.arch)));
  }
  Buffer allocate(int, int64_t bytes) override { return Buffer::host(bytes); }
  void copy(int, void*, const void*, int64_t) override {}
};

}  // namespace
}  // namespace millrace

extern "C" millrace::CudaBackend* millrace_cuda_backend(const char*) {
  static millrace::FakeBackend backend;
  return &backend;
}
