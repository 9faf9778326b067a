// Keys and values in blocks: how rows are rotated and written, and attention over them.
//
// Within a block and a head, keys lie in panels of kKeyPanel positions, [block_size / kKeyPanel,
// head_dim, kKeyPanel], so that the scores of a panel are one broadcast product; values lie row by
// row, [block_size, head_dim].
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/decoder_rows.h"
#include "kernels/cpu/isa.h"
#include "tensor/dtype.h"

namespace millrace::cpu {

inline constexpr int64_t kKeyPanel = 16;  // positions; divides block_size
// Floats behind the last block that kernels may read, and never use.
inline constexpr int64_t kKvSlack = 128;

// One layer's memory: [num_blocks, num_kv_heads, block_size * head_dim] each.
struct PagedKv {
  float* k = nullptr;
  float* v = nullptr;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;  // 1 .. kMaxHeadDim
  int64_t block_size = 0;

  // Of the first value of `head` in `block`.
  int64_t offset(int64_t block, int64_t head) const {
    return (block * num_kv_heads + head) * block_size * head_dim;
  }
};

// Normalises and rotates queries (in place) and keys of [queries, keys, values], head by head, and
// writes keys and values to their slots.
struct RopeWriteArgs {
  int64_t rows = 0;
  int64_t num_heads = 0;
  float* qkv = nullptr;
  int64_t qkv_stride = 0;
  const float* angles = nullptr;  // [rows, rotary_dim]: cosines, then sines
  int64_t angles_stride = 0;
  int64_t rotary_dim = 0;
  bool interleaved = false;
  RmsWeights q_norm;
  RmsWeights k_norm;
  const int32_t* slots = nullptr;  // [rows]
  PagedKv kv;
};

void rope_and_write_kv(const Kernels& kernels, ThreadPool& pool, const RopeWriteArgs& args);

// Row i of sequence s, counted from cu_seqlens[s], sees the keys at positions up to
// kv_lengths[s] - rows of s + i, the last `window` of them where window > 0.
struct PagedAttentionArgs {
  const float* q = nullptr;  // head h of row t: q + t * q_stride + h * head_dim
  int64_t q_stride = 0;
  PagedKv kv;
  const int32_t* block_table = nullptr;  // [num_seqs, table_width]
  int64_t table_width = 0;
  const int32_t* cu_seqlens = nullptr;
  const int32_t* kv_lengths = nullptr;
  int64_t num_seqs = 0;
  int64_t num_heads = 0;  // a multiple of kv.num_kv_heads
  int64_t window = 0;
  float scale = 1.0f;
  float soft_cap = 0.0f;
  void* out = nullptr;  // of out_dtype; overlaps no input
  int64_t out_stride = 0;
  DType out_dtype = DType::kF32;  // or kBF16
};

// The bits of a row depend on its own sequence and position alone: keys are taken in tiles that
// begin at multiples of a constant, whatever the blocks, the rows of the step or the threads.
void paged_attention(const Kernels& kernels, ThreadPool& pool, const PagedAttentionArgs& args);

}  // namespace millrace::cpu
