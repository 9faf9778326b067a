// The AVX-512 kernels and products of bf16 through VDPBF16PS; compiled with flags of its own.
//
// The instruction adds the products of two neighbours along k to a sum of fp32 (Intel, "Intrinsics
// Guide", _mm512_dpbf16_ps): each element is one chain over pairs in one order, whatever the tile.
#include <cstring>

#include "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/table_impl.h"

namespace millrace::cpu {

namespace {

constexpr int64_t kWidth = kPanelWidth<Vec512>;

inline __m512bh as_bf16(__m512i x) {
  return reinterpret_cast<__m512bh>(x);
}

// c[R, kWidth] = bias + a[R, k] * panel[k / 2, kWidth, 2].
template <int R>
void bf16_tile(const uint16_t* a, int64_t lda, const uint16_t* panel, int64_t k, const float* bias,
               float* c, int64_t ldc) {
  __m512 sum[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    sum[r][0] = _mm512_loadu_ps(bias);
    sum[r][1] = _mm512_loadu_ps(bias + 16);
  }
  const auto step = [&](int64_t i, int64_t bytes) {
    const __m512bh b0 = as_bf16(_mm512_loadu_si512(panel));
    const __m512bh b1 = as_bf16(_mm512_loadu_si512(panel + 32));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      int pair = 0;
      std::memcpy(&pair, a + r * lda + i, static_cast<size_t>(bytes));
      const __m512bh x = as_bf16(_mm512_set1_epi32(pair));
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, b0);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, b1);
    }
    panel += 2 * kWidth;
  };
  int64_t i = 0;
  for (; i + 2 <= k; i += 2) {
    Vec512::prefetch(panel + 64 * kWidth);
    Vec512::prefetch(panel + 65 * kWidth);
    step(i, 4);
  }
  if (i < k) step(i, 2);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    _mm512_storeu_ps(c + r * ldc, sum[r][0]);
    _mm512_storeu_ps(c + r * ldc + 16, sum[r][1]);
  }
}

using Bf16TileFunction = void (*)(const uint16_t*, int64_t, const uint16_t*, int64_t, const float*,
                                  float*, int64_t);

template <int R = Vec512::kTileRows>
Bf16TileFunction bf16_tile_for(int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return bf16_tile_for<R - 1>(rows);
  }
  return bf16_tile<R>;
}

struct Bf16Tiles {
  using Element = uint16_t;
  using Weight = uint16_t;
  static constexpr int64_t kTileRows = Vec512::kTileRows;
  static constexpr int64_t kRowMultiple = 1;
  static constexpr int64_t kWidth = cpu::kWidth;

  void operator()(const uint16_t* a, int64_t lda, int64_t rows, const uint16_t* panel, int64_t k,
                  const float* bias, float* c, int64_t ldc) const {
    bf16_tile_for(rows)(a, lda, panel, k, bias, c, ldc);
  }
};

constexpr Kernels make_bf16_kernels() {
  Kernels kernels = make_kernels<Vec512>(Isa::kAvx512Bf16);
  kernels.gemm_bf16 = {.panel = {.width = kWidth, .depth = 2, .k_multiple = 2},
                       .cost = {.tile_rows = Bf16Tiles::kTileRows},
                       .run = gemm_block<Vec512, Bf16Tiles, 2>};
  return kernels;
}

}  // namespace

constinit const Kernels kAvx512Bf16Kernels = make_bf16_kernels();

}  // namespace millrace::cpu
