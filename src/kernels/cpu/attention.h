// Bidirectional attention over packed sequences of any lengths, without a mask.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"
#include "tensor/dtype.h"

namespace millrace::cpu {

inline constexpr int64_t kMaxHeadDim = 256;

// out[t, h] = softmax(scale * q[t, h] K[h]^T) V[h] over the keys of t's own sequence.
// Head h of row t starts at q + t * q_stride + h * head_dim; k, v and out likewise, so one packed
// [tokens, 3 * heads * head_dim] matrix is three pointers and one stride.
struct AttentionArgs {
  const float* q = nullptr;
  int64_t q_stride = 0;  // elements from row to row, here and below
  const float* k = nullptr;
  int64_t k_stride = 0;
  const float* v = nullptr;
  int64_t v_stride = 0;
  const int32_t* cu_seqlens = nullptr;  // [num_seqs + 1]: sequence i is rows [i] .. [i + 1] - 1
  int64_t num_seqs = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // equal to num_heads
  int64_t head_dim = 0;      // 1 .. kMaxHeadDim
  float scale = 1.0f;
  void* out = nullptr;  // of out_dtype; overlaps no input
  int64_t out_stride = 0;
  DType out_dtype = DType::kF32;  // or kBF16
};

// The bits of a row depend on its own sequence alone: blocks of keys start at the sequence's start
// and have a size that depends on head_dim alone.
void attention(const Kernels& kernels, ThreadPool& pool, const AttentionArgs& args);

}  // namespace millrace::cpu
