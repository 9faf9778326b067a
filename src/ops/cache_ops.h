// CacheOps: paged keys and values, and the attention over them.
#pragma once

#include <optional>
#include <span>

#include "ops/batch.h"
#include "ops/kv_cache.h"
#include "ops/linear.h"
#include "ops/ops_context.h"

namespace millrace {

// Angles of rotary positions: position * inverse_frequencies, in fp32.
struct Rope {
  std::vector<float> inverse_frequencies;  // [rotary_dim / 2]
  float scale = 1.0f;                      // of cosines and sines
  bool interleaved = false;                // pairs are neighbours, else elements of the two halves

  int64_t rotary_dim() const { return 2 * static_cast<int64_t>(inverse_frequencies.size()); }
};

// Queries, keys and values of a layer as its product gives them: [num_tokens, (num_heads + 2 *
// num_kv_heads) * head_dim], each head by head.
struct HeadLayout {
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;

  int64_t q_width() const { return num_heads * head_dim; }
  int64_t width() const { return (num_heads + 2 * num_kv_heads) * head_dim; }
};

struct CausalAttention {
  HeadLayout heads;
  float scale = 1.0f;     // of the scores
  float soft_cap = 0.0f;  // c tanh(x / c) of the scaled scores; 0: none
};

class CacheOps : public virtual OpsContext {
 public:
  // --- memory, before the first step -------------------------------------------------------------

  // Throws Error{kIo, kUnsupported} when there is not enough. Blocks hold nothing of sense.
  virtual void allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& size) = 0;
  const KvCache& kv_cache() const { return kv_cache_; }

  // Memory of the device that nobody holds now: what a cache can be sized by.
  virtual int64_t free_bytes() const = 0;

  // Between steps, in order.
  void copy_kv_blocks(std::span<const KvCopy> copies);

  // --- a step ------------------------------------------------------------------------------------

  // scale * cos and scale * sin of each row's position: [num_tokens, rotary_dim] F32, cosines
  // before sines.
  Tensor rope_angles(const Batch& batch, const Rope& rope);

  // Normalises (where there are norms) and rotates queries and keys head by head; queries stay in
  // `qkv`, keys and values go to the slots of `layer` and are not valid in `qkv` afterwards.
  void rope_and_write_kv(const Tensor& qkv, const Batch& batch, size_t layer,
                         const HeadLayout& heads, const Rope& rope, const Tensor& angles,
                         const RmsNorm* q_norm, const RmsNorm* k_norm);

  // softmax(cap(q k^T * scale)) v of each row over the keys of its own sequence up to its own
  // position, as far back as the layer's window reaches: [num_tokens, num_heads * head_dim]. The
  // order of every sum depends on positions alone.
  Activation paged_attention(const Tensor& qkv, const Batch& batch, size_t layer,
                             const CausalAttention& attention, const ActivationFormat& consumer);

 protected:
  // Kernels trust slots and block tables. Throw InternalError for those outside the cache.
  void check_slots(const Batch& batch, size_t group) const;
  void check_block_table(const Batch& batch, size_t group) const;

  KvCache kv_cache_;

 private:
  virtual void run_copy_kv_blocks(std::span<const KvCopy> copies) = 0;
  virtual void run_rope_angles(const Batch& batch, const Rope& rope, const Tensor& out) = 0;
  virtual void run_rope_and_write_kv(const Tensor& qkv, const Batch& batch, size_t layer,
                                     const HeadLayout& heads, const Rope& rope,
                                     const Tensor& angles, const RmsNorm* q_norm,
                                     const RmsNorm* k_norm) = 0;
  virtual void run_paged_attention(const Tensor& qkv, const Batch& batch, size_t layer,
                                   const CausalAttention& attention, const Tensor& out) = 0;
};

// The layers of a cache in `memory`, one after another; without values where it is null.
std::vector<KvLayer> lay_out_kv(const KvCacheSpec& spec, const std::vector<int64_t>& num_blocks,
                                int64_t block_size, DType dtype, void* memory, Device device);

}  // namespace millrace
