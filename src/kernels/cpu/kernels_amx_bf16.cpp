// The AVX-512 kernels and products of bf16 through AMX tiles; compiled with flags of its own.
//
// TDPBF16PS adds the products of 16 pairs along k, one pair after the other, to each of 16 x 16
// sums (Intel, "Intrinsics Guide", _tile_dpbf16ps): each element is one chain over pairs in one
// order, whatever the number of rows. Tiles 0 to 3 hold the sums of up to 32 rows and 32 columns, 4
// and 5 the rows of x, 6 and 7 the columns of the weight.
#include <cstring>

#include "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/table_impl.h"

namespace millrace::cpu {

namespace {

constexpr int64_t kTileHeight = 16;  // rows of one tile
constexpr int64_t kTileDepth = 32;   // elements of x in a row of a tile
constexpr int64_t kWidth = kPanelWidth<Vec512>;

// The layout that LDTILECFG reads (Intel, "Architectures Software Developer's Manual", volume 1,
// 18.2).
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {};
};

// The compiler's tile functions do not say which memory they read: what was written before must be
// in memory by then.
inline void finish_writes() {
  asm volatile("" ::: "memory");
}

// `low` and `high` rows of the upper and the lower half; high may be 0.
inline void configure(int64_t low, int64_t high) {
  TileConfig config;
  const uint8_t upper = static_cast<uint8_t>(low);
  const uint8_t lower = static_cast<uint8_t>(high > 0 ? high : 1);
  const uint8_t full = static_cast<uint8_t>(kTileHeight);
  const uint8_t rows[8] = {upper, upper, lower, lower, upper, lower, full, full};
  for (int i = 0; i < 8; ++i) config.rows[i] = rows[i];
  finish_writes();
  _tile_loadconfig(&config);
}

// One step of kTileDepth along k for rows [0, 16) and, when kBoth, [16, 32).
template <bool kBoth>
inline void step(const uint16_t* a, int64_t lda, const uint16_t* b) {
  const int64_t a_stride = lda * 2;         // bytes
  constexpr int64_t kBStride = kWidth * 4;  // bytes: one pair of each column
  _tile_loadd(6, b, kBStride);
  _tile_loadd(7, b + 32, kBStride);
  _tile_loadd(4, a, a_stride);
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if constexpr (kBoth) {
    _tile_loadd(5, a + kTileHeight * lda, a_stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

template <bool kBoth>
void amx_tile(const uint16_t* a, int64_t lda, int64_t rows, const uint16_t* panel, int64_t k,
              const float* bias, float* c, int64_t ldc) {
  finish_writes();
  _tile_loadd(0, bias, 0);
  _tile_loadd(1, bias + 16, 0);
  if constexpr (kBoth) {
    _tile_loadd(2, bias, 0);
    _tile_loadd(3, bias + 16, 0);
  }
  int64_t i = 0;
  for (; i + kTileDepth <= k; i += kTileDepth) step<kBoth>(a + i, lda, panel + i * kWidth);
  if (i < k) {
    alignas(64) uint16_t rest[2 * kTileHeight * kTileDepth] = {};
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(rest + r * kTileDepth, a + r * lda + i, static_cast<size_t>(k - i) * 2);
    finish_writes();
    step<kBoth>(rest, kTileDepth, panel + i * kWidth);
  }
  const int64_t c_stride = ldc * 4;  // bytes
  _tile_stored(0, c, c_stride);
  _tile_stored(1, c + 16, c_stride);
  if constexpr (kBoth) {
    float* lower = c + kTileHeight * ldc;
    _tile_stored(2, lower, c_stride);
    _tile_stored(3, lower + 16, c_stride);
  }
}

struct AmxTiles {
  using Element = uint16_t;
  static constexpr int64_t kTileRows = 2 * kTileHeight;

  int64_t configured = 0;

  ~AmxTiles() { _tile_release(); }

  void operator()(const uint16_t* a, int64_t lda, int64_t rows, const uint16_t* panel, int64_t k,
                  const float* bias, float* c, int64_t ldc) {
    const int64_t low = rows < kTileHeight ? rows : kTileHeight;
    if (rows != configured) configure(low, rows - low);
    configured = rows;
    (rows > kTileHeight ? amx_tile<true> : amx_tile<false>)(a, lda, rows, panel, k, bias, c, ldc);
  }
};

constexpr Kernels make_amx_kernels() {
  Kernels kernels = make_kernels<Vec512>(Isa::kAmxBf16);
  kernels.panel_bf16 = {.width = kWidth, .depth = 2, .k_multiple = kTileDepth};
  kernels.gemm_bf16 = gemm_block<Vec512, AmxTiles, kTileDepth>;
  return kernels;
}

}  // namespace

constinit const Kernels kAmxBf16Kernels = make_amx_kernels();

}  // namespace millrace::cpu
