// TraceOps: runs a forward pass over shapes alone and writes down what it would do.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/kernel_choice.h"
#include "ops/ops.h"

namespace millrace {

// One op of a step, with its cost. Multiply-adds count as two operations.
struct TracedOp {
  std::string name;          // "linear", "attention", ...
  std::string description;   // sizes and types, "512x384 -> 512x1536 F32 gelu"
  int64_t flops = 0;         // of products and attention; element-wise work counts one per element
  int64_t weight_bytes = 0;  // parameters read
  int64_t activation_bytes = 0;             // activations read and written
  std::vector<cuda::KernelLaunch> kernels;  // of ours, on a GPU; products are cuBLASLt's
};

// Needs no device and no values. Its arena has no memory and measures the peak of the very
// allocations that the real backend makes.
class TraceOps : public Ops {
 public:
  // `arch`: for a GPU, what its kernels are compiled for.
  TraceOps(Device device, Precision precision, std::optional<cuda::Arch> arch = {})
      : OpsContext(device, precision, Arena(nullptr, INT64_MAX, device)),
        arch_(arch),
        weights_(nullptr, INT64_MAX, device) {}

  Tensor place(const Tensor& host) override;
  Tensor place_table(const Tensor& host) override;
  void prepare(Linear& linear) override;
  void allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& size) override;
  int64_t free_bytes() const override { return INT64_MAX; }

  const std::vector<TracedOp>& traced() const { return traced_; }
  int64_t placed_bytes() const { return weights_.used(); }  // of all parameters

 private:
  Buffer allocate_results(int64_t /*bytes*/) override { return {}; }
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

  Tensor place_as(const Tensor& host, DType dtype);
  TracedOp& note(TracedOp op);

  std::optional<cuda::Arch> arch_;
  Arena weights_;
  std::vector<TracedOp> traced_;
};

}  // namespace millrace
