// Matrix products with a weight packed once at load: y = epilogue(x W^T + bias).
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"
#include "tensor/dtype.h"

namespace millrace::cpu {

enum class Epilogue : uint8_t {
  kNone,
  kRelu,      // max(x, 0)
  kGelu,      // x/2 (1 + erf(x / sqrt 2))
  kGeluTanh,  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  kSilu,      // x / (1 + exp(-x))
  kTanh,
};

// The types of both factors; sums are fp32. There are fp32 by fp32, bf16 by bf16, and fp32 by bf16:
// a weight that was stored in bf16 keeps half the bytes, and is widened on its way to the products,
// whose bits are those of fp32 by fp32.
struct Factors {
  DType x = DType::kF32;
  DType weight = DType::kF32;

  bool operator==(const Factors&) const = default;
};

// A weight of torch's Linear, [n, k], rearranged for one instruction set. A view: the memory is the
// caller's, 64-byte aligned, packed_weight_bytes() long.
struct PackedWeight {
  const void* data = nullptr;
  int64_t n = 0;  // output features
  int64_t k = 0;  // input features
  Factors factors;
};

int64_t packed_weight_bytes(const Kernels& kernels, const Factors& factors, int64_t n, int64_t k);

// Writes packed_weight_bytes() bytes to `out` from `weight` [n, k], row-major and dense, of
// `weight_dtype` (kF32, kF16, kBF16). Narrowing rounds to nearest, ties to even.
PackedWeight pack_weight(const Kernels& kernels, ThreadPool& pool, const Factors& factors,
                         const void* weight, DType weight_dtype, int64_t n, int64_t k, void* out);

struct GemmArgs {
  int64_t m = 0;
  PackedWeight weight;
  const void* x = nullptr;      // [m, k] of weight.factors.x
  int64_t x_stride = 0;         // elements from row to row
  const float* bias = nullptr;  // [n], or null
  Epilogue epilogue = Epilogue::kNone;
  void* out = nullptr;  // [m, n] of out_dtype; must not overlap x
  int64_t out_stride = 0;
  DType out_dtype = DType::kF32;  // or kBF16
};

// A row of the result depends on its row of x and on the weight alone: each element is one chain of
// fused multiply-adds over k = 0 .. k-1, whatever m, the tile, or the number of threads. (With bf16
// the chain is the instruction's: fixed groups of k in a fixed order; with fp32 on kAmxBf16 it is
// that of the parts of both factors, amx_split_gemm.h, unless the weight is bf16.)
void gemm(const Kernels& kernels, ThreadPool& pool, const GemmArgs& args);

}  // namespace millrace::cpu
