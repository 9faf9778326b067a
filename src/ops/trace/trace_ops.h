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
      : OpsContext(device, precision, Arena(nullptr, INT64_MAX, device)), arch_(arch) {}

  Tensor place(const Tensor& host) override;
  void prepare(Linear& linear) override;

  const std::vector<TracedOp>& traced() const { return traced_; }

 private:
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

  Tensor place_as(const Tensor& host, DType dtype);
  TracedOp& note(TracedOp op);

  std::optional<cuda::Arch> arch_;
  std::vector<TracedOp> traced_;
};

}  // namespace millrace
