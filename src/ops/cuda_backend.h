// CudaBackend: what the CUDA library offers, and how it is loaded. No CUDA type is seen here.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/cuda/arch.h"
#include "kernels/cuda/compiled_kernel.h"
#include "kernels/cuda/kernel_instance.h"
#include "ops/ops.h"
#include "tensor/buffer.h"

namespace millrace {

struct Gpu {
  int index = 0;
  std::string name;         // "NVIDIA H200"
  int capability = 0;       // ten times the compute capability: 90
  int64_t total_bytes = 0;  // of device memory
};

// What a set of ops on a GPU is made of. All device memory is taken when it is made.
struct CudaOpsOptions {
  int device = 0;
  cuda::Arch arch;  // that the kernels were compiled for
  Precision precision;
  int64_t weight_bytes = 0;       // of the parameters once placed, as a trace found
  int64_t arena_bytes = 0;        // the peak that a trace of the largest step found
  int64_t max_num_tokens = 0;     // of a step
  int64_t max_num_sequences = 0;  // of a step
  int64_t max_result_bytes = 0;   // that one step sends to the host
  // Of decoders; 0: nothing is generated.
  int64_t vocab_size = 0;
  int64_t max_seq_len = 0;      // keys of a sequence
  int64_t max_logits_rows = 0;  // of a step; as many are sampled at most
  int64_t max_logprobs = 0;     // of the most likely tokens of a row
  bool deterministic = false;   // a row's bits depend on the weights and its own sequence alone
  bool enforce_eager = false;   // steps of few tokens are not recorded and replayed
  std::vector<cuda::KernelBinary> kernels;  // every instance that the steps launch
};

class CudaBackend {
 public:
  virtual ~CudaBackend() = default;

  // --- without a GPU -----------------------------------------------------------------------------

  // "nvrtc 13.0". Throws Error{kUnsupported} with the remedy where there is no compiler.
  virtual std::string compiler() = 0;

  // SHA-256 of the text of all kernels: machine code made from another text must not be launched.
  virtual std::string kernel_sources_digest() = 0;

  // From the cache of compiled kernels, or compiled and put there.
  virtual cuda::CompiledKernel compile(const cuda::KernelInstance& instance, cuda::Arch arch) = 0;

  // --- with one ----------------------------------------------------------------------------------

  // Throws Error{kUnsupported} where there is no driver, none that suits, or no GPU.
  virtual std::vector<Gpu> gpus() = 0;

  // Throws Error{kUnsupported} when memory does not suffice: how much is needed, how much is free,
  // and which setting helps.
  virtual std::unique_ptr<Ops> make_ops(const CudaOpsOptions& options) = 0;

  // Memory of a GPU beside all ops, and a copy from or to anywhere, which waits for all work before
  // it: for tests and benchmarks.
  virtual Buffer allocate(int device, int64_t bytes) = 0;
  virtual void copy(int device, void* to, const void* from, int64_t bytes) = 0;
};

// Opens libmillrace_cuda.so, which lies beside the program or where MILLRACE_CUDA_BACKEND says.
// Throws Error{kUnsupported} saying what is missing. What it returns lives until the process ends.
CudaBackend& load_cuda_backend();

// Compiles the instances one after the other (NVRTC works on one at a time); `progress` hears of
// each.
cuda::KernelArchive compile_kernels(
    CudaBackend& backend, std::span<const cuda::KernelInstance> instances, cuda::Arch arch,
    const std::function<void(size_t done, size_t total, const std::string& name)>& progress);

// A CUDA error after which nothing on this GPU can be trusted: the process must be restarted.
class DeviceLost : public Error {
 public:
  using Error::Error;
};

}  // namespace millrace
