// The AVX-512 kernels and products through AMX tiles; compiled with flags of its own. Here products
// of bf16; those of fp32 are in amx_split_gemm.h.
#include <cstring>

#include "kernels/cpu/amx_split_gemm.h"
#include "kernels/cpu/table_impl.h"

namespace millrace::cpu {

namespace {

// One step of kTileDepth along k for rows [0, 16) and, when kBoth, [16, 32).
template <bool kBoth>
inline void step(const uint16_t* a, int64_t lda, const uint16_t* b) {
  const int64_t a_stride = lda * 2;              // bytes
  constexpr int64_t kBStride = kSumColumns * 4;  // bytes: one pair of each column
  _tile_loadd(6, b, kBStride);
  _tile_loadd(7, b + kTileDepth, kBStride);
  _tile_loadd(4, a, a_stride);
  if constexpr (kBoth) _tile_loadd(5, a + kTileHeight * lda, a_stride);
  multiply_tiles<kBoth>();
}

template <bool kBoth>
void amx_tile(const uint16_t* a, int64_t lda, int64_t rows, const uint16_t* panel, int64_t k,
              const float* bias, float* c, int64_t ldc) {
  finish_writes();
  load_sums<kBoth>(bias, 0);
  int64_t i = 0;
  for (; i + kTileDepth <= k; i += kTileDepth) step<kBoth>(a + i, lda, panel + i * kSumColumns);
  if (i < k) {
    alignas(64) uint16_t rest[2 * kTileHeight * kTileDepth] = {};
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(rest + r * kTileDepth, a + r * lda + i, static_cast<size_t>(k - i) * 2);
    finish_writes();
    step<kBoth>(rest, kTileDepth, panel + i * kSumColumns);
  }
  store_sums<kBoth>(c, ldc);
}

struct AmxTiles {
  using Element = uint16_t;
  using Weight = uint16_t;
  static constexpr int64_t kTileRows = kSumRows;
  static constexpr int64_t kRowMultiple = kTileHeight;
  static constexpr int64_t kWidth = kSumColumns;

  TileRows tiles;

  void operator()(const uint16_t* a, int64_t lda, int64_t rows, const uint16_t* panel, int64_t k,
                  const float* bias, float* c, int64_t ldc) {
    tiles.set(rows);
    (rows > kTileHeight ? amx_tile<true> : amx_tile<false>)(a, lda, rows, panel, k, bias, c, ldc);
  }
};

constexpr Kernels make_amx_kernels() {
  Kernels kernels = make_kernels<Vec512>(Isa::kAmxBf16);
  kernels.gemm_f32 = {.panel = {.width = kSumColumns, .depth = 1, .k_multiple = kTileDepth},
                      .cost = {.tile_rows = kSumRows,
                               .row_multiple = kTileHeight,
                               .first_tile = 32,
                               .uncached_panel = 100,
                               .row = 1},
                      .run = split_gemm_block};
  kernels.gemm_bf16 = {
      .panel = {.width = kSumColumns, .depth = 2, .k_multiple = kTileDepth},
      .cost = {.tile_rows = kSumRows, .row_multiple = kTileHeight, .uncached_panel = 200},
      .run = gemm_block<Vec512, AmxTiles, kTileDepth>};
  return kernels;
}

}  // namespace

constinit const Kernels kAmxBf16Kernels = make_amx_kernels();

}  // namespace millrace::cpu
