// Products of fp32 with a packed weight of fp32 or bf16: one register tile and the loops around it,
// as templates over the vector type.
//
// A tile holds R x (kTileVectors * kWidth) sums in registers and runs over the whole of k, so that
// each sum is one chain in one order whatever R is. Rows are taken in blocks that stay in the
// second cache while the panels of the weight pass through the first.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd_math.h"

namespace millrace::cpu {
namespace {

// Columns of a tile that is `vectors` vectors wide.
template <class V, int kVectors = V::kTileVectors>
inline constexpr int64_t kPanelWidth = V::kWidth* kVectors;

// Elements of x that a block of rows may take: half a megabyte.
inline constexpr int64_t kBlockElements = 128 * 1024;

// c[R, N vectors] = start + a[R, k] * panel[k, N vectors]; start is c itself when kAccumulate,
// else the row `bias` for every row.
template <class V, int R, int N, bool kAccumulate>
void gemm_tile(const float* a, int64_t lda, const float* panel, int64_t k, const float* bias,
               float* c, int64_t ldc) {
  typename V::Reg sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j)
      sum[r][j] = V::load(kAccumulate ? c + r * ldc + j * V::kWidth : bias + j * V::kWidth);
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < k; ++i) {
    typename V::Reg b[N];
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
      b[j] = V::load(panel + j * V::kWidth);
      V::prefetch(panel + j * V::kWidth + 16 * kPanelWidth<V, N>);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto x = V::set1(a[r * lda + i]);
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) sum[r][j] = V::fma(x, b[j], sum[r][j]);
    }
    panel += kPanelWidth<V, N>;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) V::store(c + r * ldc + j * V::kWidth, sum[r][j]);
  }
}

using TileFunction = void (*)(const float*, int64_t, const float*, int64_t, const float*, float*,
                              int64_t);

// The tile for `rows` rows, 1 <= rows <= R.
template <class V, bool kAccumulate, int R = V::kTileRows, int N = V::kTileVectors>
TileFunction tile_for(int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return tile_for<V, kAccumulate, R - 1, N>(rows);
  }
  return gemm_tile<V, R, N, kAccumulate>;
}

// The same with a panel of bf16, [k / 2, N vectors, 2]: pairs of neighbours along k lie together,
// so that one shift or one mask makes floats of them. The sums are the same chains.
template <class V, int R, int N>
void widening_tile(const float* a, int64_t lda, const uint16_t* panel, int64_t k, const float* bias,
                   float* c, int64_t ldc) {
  constexpr int64_t kPairWidth = 2 * kPanelWidth<V, N>;
  typename V::Reg sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) sum[r][j] = V::load(bias + j * V::kWidth);
  }
  const auto multiply = [&](int64_t i, const auto& widen) {
    typename V::Reg b[N];
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) b[j] = widen(panel + 2 * j * V::kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto x = V::set1(a[r * lda + i]);
#pragma GCC unroll 4
      for (int j = 0; j < N; ++j) sum[r][j] = V::fma(x, b[j], sum[r][j]);
    }
  };
  int64_t i = 0;
  for (; i + 2 <= k; i += 2, panel += kPairWidth) {
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) V::prefetch(panel + 2 * j * V::kWidth + 32 * kPairWidth);
    multiply(i, V::widen_even);
    multiply(i + 1, V::widen_odd);
  }
  if (i < k) multiply(i, V::widen_even);
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) V::store(c + r * ldc + j * V::kWidth, sum[r][j]);
  }
}

using WideningTileFunction = void (*)(const float*, int64_t, const uint16_t*, int64_t, const float*,
                                      float*, int64_t);

template <class V, int R, int N>
WideningTileFunction widening_tile_for(int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return widening_tile_for<V, R - 1, N>(rows);
  }
  return widening_tile<V, R, N>;
}

// Calls body(row, rows) for tiles that cover [begin, end): at most `most` rows high, in multiples
// of kMultiple but for the last, and nearly equal otherwise.
template <int64_t kMultiple = 1, class Body>
inline void for_each_tile(int64_t begin, int64_t end, int64_t most, const Body& body) {
  int64_t tiles = (end - begin + most - 1) / most;
  for (int64_t row = begin; tiles > 0; --tiles) {
    const int64_t equal = (end - row + tiles - 1) / tiles;
    const int64_t whole = (equal + kMultiple - 1) / kMultiple * kMultiple;
    const int64_t rows = whole < end - row ? whole : end - row;
    body(row, rows);
    row += rows;
  }
}

// out = activation(c) for `rows` rows of `width` elements, as fp32 or bf16.
template <class V, Epilogue kEpilogue, bool kBf16>
void finish_tile(const float* c, int64_t ldc, int64_t rows, int64_t width, void* out,
                 int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = c + r * ldc;
    for (int64_t j = 0; j < width; j += V::kWidth) {
      const auto y = activate<V, kEpilogue>(V::load(from + j));
      const int64_t left = width - j;
      if constexpr (kBf16) {
        uint16_t* to = static_cast<uint16_t*>(out) + r * out_stride + j;
        if (left >= V::kWidth) {
          V::store_bf16(to, y);
        } else {
          V::store_bf16_part(to, y, left);
        }
      } else {
        float* to = static_cast<float*>(out) + r * out_stride + j;
        if (left >= V::kWidth) {
          V::store(to, y);
        } else {
          V::store_part(to, y, left);
        }
      }
    }
  }
}

using FinishFunction = void (*)(const float*, int64_t, int64_t, int64_t, void*, int64_t);

template <class V, bool kBf16>
FinishFunction finish_for(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::kNone: return finish_tile<V, Epilogue::kNone, kBf16>;
    case Epilogue::kRelu: return finish_tile<V, Epilogue::kRelu, kBf16>;
    case Epilogue::kGelu: return finish_tile<V, Epilogue::kGelu, kBf16>;
    case Epilogue::kGeluTanh: return finish_tile<V, Epilogue::kGeluTanh, kBf16>;
    case Epilogue::kSilu: return finish_tile<V, Epilogue::kSilu, kBf16>;
    case Epilogue::kTanh: return finish_tile<V, Epilogue::kTanh, kBf16>;
  }
  return nullptr;
}

// The tiles of fp32. A type of tiles names its elements, its greatest height, what heights are
// multiples of, its width, and is called once per tile with: x and its stride, the rows, one panel,
// k, the panel's bias, the sums and their stride.
template <class V, int R = V::kProductRows, int N = V::kProductVectors>
struct F32Tiles {
  using Element = float;
  using Weight = float;
  static constexpr int64_t kTileRows = R;
  static constexpr int64_t kRowMultiple = 1;
  static constexpr int64_t kWidth = kPanelWidth<V, N>;

  void operator()(const float* a, int64_t lda, int64_t rows, const float* panel, int64_t k,
                  const float* bias, float* c, int64_t ldc) const {
    tile_for<V, false, R, N>(rows)(a, lda, panel, k, bias, c, ldc);
  }
};

template <class V, int R = V::kProductRows, int N = V::kProductVectors>
struct F32Bf16Tiles {
  using Element = float;
  using Weight = uint16_t;
  static constexpr int64_t kTileRows = R;
  static constexpr int64_t kRowMultiple = 1;
  static constexpr int64_t kWidth = kPanelWidth<V, N>;

  void operator()(const float* a, int64_t lda, int64_t rows, const uint16_t* panel, int64_t k,
                  const float* bias, float* c, int64_t ldc) const {
    widening_tile_for<V, R, N>(rows)(a, lda, panel, k, bias, c, ldc);
  }
};

// A block of a product by the tiles of type Tiles. kKMultiple is the panels' k_multiple.
template <class V, class Tiles, int64_t kKMultiple>
void gemm_block(const GemmArgs& args, const GemmBlock& block) {
  using Element = typename Tiles::Element;
  using Weight = typename Tiles::Weight;
  constexpr int64_t kWidth = Tiles::kWidth;
  constexpr int64_t kRows = Tiles::kTileRows;
  const int64_t n = args.weight.n;
  const int64_t k = args.weight.k;
  const int64_t panel_size = (k + kKMultiple - 1) / kKMultiple * kKMultiple * kWidth;
  const bool bf16 = args.out_dtype == DType::kBF16;
  const bool plain = args.epilogue == Epilogue::kNone && !bf16;
  const FinishFunction finish =
      bf16 ? finish_for<V, true>(args.epilogue) : finish_for<V, false>(args.epilogue);
  const int64_t out_bytes = bf16 ? 2 : 4;
  const int64_t tiles_per_block = kBlockElements / (k * kRows);
  const int64_t block_rows = (tiles_per_block > 1 ? tiles_per_block : 1) * kRows;
  alignas(64) float sums[kRows * kWidth];
  Tiles tile;

  for (int64_t begin = block.row_begin; begin < block.row_end; begin += block_rows) {
    const int64_t end = begin + block_rows < block.row_end ? begin + block_rows : block.row_end;
    for (int64_t p = block.panel_begin; p < block.panel_end; ++p) {
      const Weight* panel = static_cast<const Weight*>(args.weight.data) + p * panel_size;
      const int64_t first = p * kWidth;
      const int64_t width = n - first < kWidth ? n - first : kWidth;
      alignas(64) float bias[kWidth] = {};
      if (args.bias) {
        for (int64_t j = 0; j < width; ++j) bias[j] = args.bias[first + j];
      }
      for_each_tile<Tiles::kRowMultiple>(begin, end, kRows, [&](int64_t row, int64_t rows) {
        const Element* x = static_cast<const Element*>(args.x) + row * args.x_stride;
        char* out = static_cast<char*>(args.out) + (row * args.out_stride + first) * out_bytes;
        if (plain && width == kWidth) {
          tile(x, args.x_stride, rows, panel, k, bias, reinterpret_cast<float*>(out),
               args.out_stride);
          return;
        }
        tile(x, args.x_stride, rows, panel, k, bias, sums, kWidth);
        finish(sums, kWidth, rows, width, out, args.out_stride);
      });
    }
  }
}

}  // namespace
}  // namespace millrace::cpu
