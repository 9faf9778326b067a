// CpuOps: the ops on the CPU, over kernels chosen for its instruction set.
#pragma once

#include <vector>

#include "base/memory_info.h"
#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/paged_kv.h"
#include "ops/ops.h"
#include "tensor/buffer.h"

namespace millrace {

// A row's bits depend only on the weight and on its own sequence: the same alone, in a batch, and
// at any number of threads (on one instruction set).
class CpuOps : public Ops {
 public:
  // `arena_bytes`: the peak that a trace of the largest step found. `pool` must outlive the ops.
  // Throws Error{kUnsupported} when the precision needs instructions that `isa` lacks.
  CpuOps(ThreadPool& pool, cpu::Isa isa, Precision precision, int64_t arena_bytes);

  Tensor place(const Tensor& host) override;
  Tensor place_table(const Tensor& host) override;
  void prepare(Linear& linear) override;
  void allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& size) override;
  int64_t free_bytes() const override { return available_memory_bytes(); }

 private:
  CpuOps(ThreadPool& pool, cpu::Isa isa, Precision precision, Buffer arena);

  Tensor place_copy(const Tensor& host);

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
  cpu::PagedKv paged_kv(size_t layer) const;
  void* allocate_weight(int64_t bytes);

  ThreadPool& pool_;
  const cpu::Kernels& kernels_;
  Buffer arena_memory_;
  std::vector<float> sampling_scratch_;      // [num_threads, vocab]
  const int32_t* sampled_tokens_ = nullptr;  // of the last sample()
  std::vector<int32_t> known_ids_;           // of a batch that names those
  // Blocks that packed weights and copies lie in, one after another.
  std::vector<Buffer> weight_memory_;
  Arena weight_block_;  // what is left of the last one
};

}  // namespace millrace
