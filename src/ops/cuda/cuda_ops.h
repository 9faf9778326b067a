// CudaOps: the ops on an NVIDIA GPU, over kernels that the engine brings and cuBLASLt.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "ops/cuda/gpu_context.h"
#include "ops/cuda/kernel_set.h"
#include "ops/cuda/lt_gemm.h"
#include "ops/cuda/sampling_memory.h"
#include "ops/cuda/step_graph.h"
#include "ops/cuda/step_memory.h"
#include "ops/cuda/weight_loader.h"

namespace millrace::cuda {

// Everything is enqueued on one stream; nothing is allocated and nobody waits inside a step.
class CudaOps : public Ops {
 public:
  // Throws Error{kUnsupported} when memory does not suffice, before any is taken.
  static std::unique_ptr<CudaOps> make(const Driver& driver, const CudaOpsOptions& options);
  ~CudaOps() override;

  Tensor place(const Tensor& host) override;
  Tensor place_table(const Tensor& host) override;
  void prepare(Linear& linear) override;
  void allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& size) override;
  int64_t free_bytes() const override { return context_->free_bytes(); }
  void finish_loading() override;

  void begin_step(const Batch& batch) override;
  Step run_step(const Batch& batch, int variant, const Forward& forward) override;
  void wait_step(uint64_t step) override;
  void wait_sampled() override;
  int max_steps_in_flight() const override { return StepMemory::kSteps; }

 private:
  CudaOps(std::unique_ptr<GpuContext> context, const CudaOpsOptions& options, Buffer arena,
          Buffer weights);

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
                  const SampledTokens& out) override;
  Buffer allocate_results(int64_t bytes) override;

  void run_embed_tokens(const Batch& batch, const Tensor& table, float scale,
                        const Tensor& out) override;
  void run_rms_norm(const Tensor& x, const RmsNorm& norm, const Tensor& out) override;
  void run_add_rms_norm(const HiddenStates& hidden, const Activation& delta, const ResidualAdd& add,
                        const RmsNorm& norm) override;
  void run_act_and_mul(const Tensor& gate_up, ActivationFunction f, const Tensor& out) override;
  void run_gather_logits_rows(const Tensor& x, const Batch& batch, const Tensor& out) override;
  void run_scale_and_cap(const Tensor& out, float scale, float soft_cap) override;

  void run_copy_kv_blocks(std::span<const KvCopy> copies) override;
  void run_rope_angles(const Batch& batch, const Rope& rope, const Tensor& out) override;
  void run_rope_and_write_kv(const Tensor& qkv, const Batch& batch, size_t layer,
                             const HeadLayout& heads, const Rope& rope, const Tensor& angles,
                             const RmsNorm* q_norm, const RmsNorm* k_norm) override;
  void run_paged_attention(const Tensor& qkv, const Batch& batch, size_t layer,
                           const CausalAttention& attention, const Tensor& out) override;

  template <typename Arguments>
  void launch(const KernelLaunch& launch, const Arguments& arguments) {
    if (launch.grid_x > 0) kernels_.launch(launch, arguments, context_->stream());
  }
  // What is known of steps of one size and variant.
  struct Recording {
    StepSize size;
    int variant = 0;
    StepRows rows;                   // on the GPU
    int64_t arena_bytes = 0;         // that hold them
    std::vector<TileList> lists;     // that its kernels ask for
    EmbeddingTables tables;          // that the batch's indices point into
    std::optional<StepGraph> graph;  // from the second such step on
    uint64_t last_used = 0;          // step
  };

  // The size at which a step is recorded; none for steps that are launched.
  std::optional<StepSize> size_to_record(const Batch& batch) const;
  void check_replayed(const Recording& known) const;
  Recording& recording_of(const StepSize& size, int variant);
  StepRows run_recorded(const Batch& batch, const StepSize& size, int variant,
                        const Forward& forward);
  void launch_paged(const PagedLaunch& paged, const Tensor& qkv, const Batch& batch, size_t layer,
                    const CausalAttention& attention, const Tensor& out);

  Tensor place_as(const Tensor& host, DType dtype);
  const DeviceBatch& device_batch(const Batch& batch) const;

  std::unique_ptr<GpuContext> context_;  // outlives all below
  Arch arch_;
  bool deterministic_;
  StepSize most_recorded_;  // no tokens: no step is recorded
  int64_t max_seq_len_ = 0;
  int64_t max_sampled_rows_ = 0;
  KernelSet kernels_;
  Buffer arena_memory_;
  Buffer weight_memory_;
  Arena weights_;                                   // over it
  std::vector<std::pair<Tensor, Tensor>> widened_;  // biases to be converted once they are there
  LtGemm gemm_;
  StepMemory steps_;
  SamplingMemory sampling_;
  std::vector<Buffer> result_memory_;  // of sampled tokens: grows by powers of two
  WeightLoader loader_;
  const Batch* batch_ = nullptr;  // of the step at work
  Batch padded_;                  // that batch, where it had to be filled up
  EmbeddingTables tables_;        // of the last embed, or embed_tokens
  // [cache groups]: what copies of blocks are told of the layers of a group.
  std::vector<Buffer> sides_;
  std::vector<int64_t> num_sides_;
  Buffer arrivals_;  // PagedAttentionArgs::arrivals, of any layer
  std::list<Recording> recordings_;
  uint64_t num_steps_ = 0;
};

}  // namespace millrace::cuda
