// Layer normalisation of rows, alone, after a residual, and after an embedding lookup.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"

namespace millrace::cpu {

// (x - mean) / sqrt(variance + eps) * gamma + beta, with the biased variance, as torch's LayerNorm.
struct NormWeights {
  const float* gamma = nullptr;  // [width]
  const float* beta = nullptr;   // [width]
  float eps = 1e-12f;
};

// out[r] = norm(x[r] + delta[r]). `out` may be x itself: the residual stream is updated in place.
struct LayerNormArgs {
  int64_t rows = 0;
  int64_t width = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;          // elements from row to row, here and below
  const float* delta = nullptr;  // null: plain layer norm
  int64_t delta_stride = 0;
  NormWeights norm;
  float* out = nullptr;  // x, or memory that overlaps neither input
  int64_t out_stride = 0;
  uint16_t* bf16_out = nullptr;  // the same rows as bf16 for the next product, or null
  int64_t bf16_out_stride = 0;
};

void layer_norm(const Kernels& kernels, ThreadPool& pool, const LayerNormArgs& args);

// One summand of an embedding. The indices are trusted.
struct EmbeddingTable {
  const float* table = nullptr;      // [*, width], dense; null: the summand is absent
  const int32_t* indices = nullptr;  // [rows]; null: row 0 for all
};

// out[r] = norm(sum of one row of each table).
struct EmbedArgs {
  int64_t rows = 0;
  int64_t width = 0;
  EmbeddingTable tables[3];  // word, position, token type; the first is present
  NormWeights norm;          // gamma null: no normalisation
  float* out = nullptr;
  int64_t out_stride = 0;
  uint16_t* bf16_out = nullptr;  // as above
  int64_t bf16_out_stride = 0;
};

void embed(const Kernels& kernels, ThreadPool& pool, const EmbedArgs& args);

}  // namespace millrace::cpu
