// From token rows to one row per sequence, and what is done to such rows.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"

namespace millrace::cpu {

enum class PoolingMode : uint8_t { kMean, kFirst, kLast };  // kFirst is the CLS token of BERT

struct PoolArgs {
  PoolingMode mode = PoolingMode::kMean;
  const float* x = nullptr;  // [tokens, width]
  int64_t x_stride = 0;      // elements from row to row
  int64_t width = 0;
  const int32_t* cu_seqlens = nullptr;  // [num_seqs + 1]; no sequence is empty
  int64_t num_seqs = 0;
  float* out = nullptr;  // [num_seqs, width]
  int64_t out_stride = 0;
};

void pool_rows(const Kernels& kernels, ThreadPool& pool, const PoolArgs& args);

// Rows of x, changed in place.
struct RowsArgs {
  float* x = nullptr;
  int64_t rows = 0;
  int64_t width = 0;
  int64_t stride = 0;  // elements from row to row
};

// x / max(|x|, 1e-12), as torch's F.normalize.
void l2_normalize(const Kernels& kernels, ThreadPool& pool, const RowsArgs& args);

// exp(x - max) / sum exp(x - max) over each row.
void softmax(const Kernels& kernels, ThreadPool& pool, const RowsArgs& args);

// 1 / (1 + exp(-x)), each element.
void sigmoid(const Kernels& kernels, ThreadPool& pool, const RowsArgs& args);

}  // namespace millrace::cpu
