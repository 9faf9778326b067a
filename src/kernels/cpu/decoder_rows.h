// What decoders compute row by row: embedding, RMS norm with its residual, the gated activation.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/isa.h"
#include "tensor/dtype.h"

namespace millrace::cpu {

// x / sqrt(mean(x^2) + eps) * (gamma + offset).
struct RmsWeights {
  const float* gamma = nullptr;  // [width]; null: there is no norm
  float offset = 0.0f;
  float eps = 1e-6f;
};

// x += scale * delta_norm(delta) where there is a delta; out = norm(x).
struct RmsNormArgs {
  int64_t rows = 0;
  int64_t width = 0;
  float* x = nullptr;    // written only where there is a delta
  int64_t x_stride = 0;  // elements from row to row, here and below
  const float* delta = nullptr;
  int64_t delta_stride = 0;
  RmsWeights delta_norm;
  float scale = 1.0f;
  RmsWeights norm;
  void* out = nullptr;  // of out_dtype; overlaps no input
  int64_t out_stride = 0;
  DType out_dtype = DType::kF32;  // or kBF16
};

void rms_norm(const Kernels& kernels, ThreadPool& pool, const RmsNormArgs& args);

// out[r] = scale * table[indices[r]]. The indices are trusted.
struct EmbedTokensArgs {
  int64_t rows = 0;
  int64_t width = 0;
  const void* table = nullptr;  // [*, width], dense, of table_dtype: kF32, kF16 or kBF16
  DType table_dtype = DType::kF32;
  const int32_t* indices = nullptr;  // [rows]
  float scale = 1.0f;
  float* out = nullptr;
  int64_t out_stride = 0;
};

void embed_tokens(ThreadPool& pool, const EmbedTokensArgs& args);

// out[r] = f(x[r, 0 .. width - 1]) * x[r, width .. 2 width - 1].
struct ActAndMulArgs {
  int64_t rows = 0;
  int64_t width = 0;
  const float* x = nullptr;
  int64_t x_stride = 0;
  Epilogue function = Epilogue::kSilu;
  void* out = nullptr;  // of out_dtype; overlaps no input
  int64_t out_stride = 0;
  DType out_dtype = DType::kF32;  // or kBF16
};

void act_and_mul(const Kernels& kernels, ThreadPool& pool, const ActAndMulArgs& args);

// x = cap(scale * x) in place; cap(x) = c tanh(x / c) where soft_cap is c > 0.
struct ScaleAndCapArgs {
  int64_t rows = 0;
  int64_t width = 0;
  float* x = nullptr;
  int64_t stride = 0;
  float scale = 1.0f;
  float soft_cap = 0.0f;
};

void scale_and_cap(const Kernels& kernels, ThreadPool& pool, const ScaleAndCapArgs& args);

}  // namespace millrace::cpu
