// What the products through AMX tiles share: the shape of the tiles and their configuration.
//
// Tiles 0 to 3 hold the sums of up to 32 rows and 32 columns, 4 and 5 the rows of x, 6 and 7 the
// columns of the weight. TDPBF16PS adds the products of 16 pairs along k, one pair after the other,
// to each of 16 x 16 sums (Intel, "Intrinsics Guide", _tile_dpbf16ps): each element is one chain
// over pairs in one order, whatever the number of rows.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace millrace::cpu {
namespace {

inline constexpr int64_t kTileHeight = 16;               // rows of one tile
inline constexpr int64_t kTileDepth = 32;                // elements of x in a row of a tile
inline constexpr int64_t kSumRows = 2 * kTileHeight;     // of the sums in tiles 0 to 3
inline constexpr int64_t kSumColumns = 2 * kTileHeight;  // of those sums, and of a panel

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

// The configuration of this thread's tiles, given back at the end.
class TileRows {
 public:
  ~TileRows() { _tile_release(); }

  // For `rows` rows, 1 to 32: the first 16 in the upper half, what is left in the lower one.
  void set(int64_t rows) {
    if (rows == configured_) return;
    configured_ = rows;
    const uint8_t upper = static_cast<uint8_t>(rows < kTileHeight ? rows : kTileHeight);
    const uint8_t lower = static_cast<uint8_t>(rows > kTileHeight ? rows - kTileHeight : 1);
    const uint8_t full = static_cast<uint8_t>(kTileHeight);
    TileConfig config;
    const uint8_t heights[8] = {upper, upper, lower, lower, upper, lower, full, full};
    for (int i = 0; i < 8; ++i) config.rows[i] = heights[i];
    finish_writes();
    _tile_loadconfig(&config);
  }

 private:
  int64_t configured_ = 0;
};

// sums[0..1] (and, when kBoth, sums[2..3]) += the rows in tiles 4 (and 5) times tiles 6 and 7.
template <bool kBoth>
inline void multiply_tiles() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if constexpr (kBoth) {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// Loads the sums from c, rows `stride` floats apart; 0 repeats one row.
template <bool kBoth>
inline void load_sums(const float* c, int64_t stride) {
  const int64_t bytes = stride * 4;
  _tile_loadd(0, c, bytes);
  _tile_loadd(1, c + kTileHeight, bytes);
  if constexpr (kBoth) {
    const float* lower = c + kTileHeight * stride;
    _tile_loadd(2, lower, bytes);
    _tile_loadd(3, lower + kTileHeight, bytes);
  }
}

template <bool kBoth>
inline void store_sums(float* c, int64_t stride) {
  const int64_t bytes = stride * 4;
  _tile_stored(0, c, bytes);
  _tile_stored(1, c + kTileHeight, bytes);
  if constexpr (kBoth) {
    float* lower = c + kTileHeight * stride;
    _tile_stored(2, lower, bytes);
    _tile_stored(3, lower + kTileHeight, bytes);
  }
}

}  // namespace
}  // namespace millrace::cpu
