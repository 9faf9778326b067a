// CudaOps: the ops on an NVIDIA GPU, over kernels that the engine brings and cuBLASLt.
#pragma once

#include <memory>
#include <vector>

#include "ops/cuda/gpu_context.h"
#include "ops/cuda/kernel_set.h"
#include "ops/cuda/lt_gemm.h"
#include "ops/cuda/step_memory.h"
#include "ops/cuda/weight_loader.h"

namespace millrace::cuda {

// Everything is enqueued on one stream; nothing is allocated and nobody waits inside a step.
class CudaOps : public Ops {
 public:
  // Throws Error{kUnsupported} when memory does not suffice, before any is taken.
  static std::unique_ptr<CudaOps> make(const Driver& driver, ThreadPool& pool,
                                       const CudaOpsOptions& options);
  ~CudaOps() override;

  Tensor place(const Tensor& host) override;
  void prepare(Linear& linear) override;
  void finish_loading() override;

  void begin_step(const Batch& batch) override;
  Tensor to_host(const Tensor& tensor) override;
  uint64_t end_step() override;
  void wait_step(uint64_t step) override;
  int max_steps_in_flight() const override { return StepMemory::kSteps; }

 private:
  CudaOps(std::unique_ptr<GpuContext> context, ThreadPool& pool, const CudaOpsOptions& options,
          Buffer arena);

  void run_embed(const Batch& batch, const EmbeddingTables& tables, const LayerNorm& norm,
                 const HiddenStates& out) override;
  void run_linear(const Activation& x, const Linear& linear, ActivationFunction f,
                  const Tensor& out) override;
  void run_convert(const Tensor& x, const Tensor& out) override;
  void run_add_layer_norm(const HiddenStates& hidden, const Activation& delta,
                          const LayerNorm& norm) override;
  void run_attention(const Tensor& qkv, const Batch& batch, const AttentionShape& shape,
                     const Tensor& out) override;
  void run_pool(const Tensor& hidden, const Batch& batch, PoolingMode mode,
                const Tensor& out) override;
  void run_normalize_rows(const Tensor& out) override;
  void run_sample(const Tensor& logits, const SamplingBatch& batch,
                  const SampledTokens& out) override;  // throws Error{kUnsupported}

  template <typename Arguments>
  void launch(const KernelLaunch& launch, const Arguments& arguments) {
    if (launch.grid_x > 0) kernels_.launch(launch, arguments, context_->stream());
  }
  Tensor place_as(const Tensor& host, DType dtype);
  void* allocate_weight(int64_t bytes);
  const DeviceBatch& device_batch(const Batch& batch) const;

  std::unique_ptr<GpuContext> context_;  // outlives all below
  Arch arch_;
  bool deterministic_;
  KernelSet kernels_;
  Buffer arena_memory_;
  std::vector<Buffer> weight_memory_;
  Arena weight_block_;  // what is left of the last one
  LtGemm gemm_;
  StepMemory steps_;
  ThreadPool& pool_;
  std::unique_ptr<WeightLoader> loader_;  // from the first parameter to finish_loading()
  const Batch* batch_ = nullptr;          // of the step at work
};

}  // namespace millrace::cuda
