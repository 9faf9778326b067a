// Products of fp32 through the AMX tiles of bf16, at the accuracy of fp32.
//
// The 24 bits of a float are the sum of three bf16 of 8 bits each, found by cutting off the low
// half three times: x = x1 + x2 + x3 exactly. Of the nine products of parts, x1 w1, x1 w2, x2 w1,
// x1 w3, x2 w2 and x3 w1 are summed up in fp32; what is left out is at most 2^-21 of |x w|, 2^-24
// on average, one rounding of a chain of fused multiply-adds (Henry, Tang and Heinecke, "Leveraging
// the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations"). The tiles do
// 16 times the products of AVX-512, so that six in the place of one still pay.
//
// Each element is one chain over k in steps of 32, whatever m or the number of threads. Parts below
// 2^-126 count as zero; an infinite factor gives NaN, as its rest is none.
#pragma once

#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/gemm_impl.h"
#include "kernels/cpu/simd_avx512.h"

namespace millrace::cpu {
namespace {

inline constexpr int64_t kSplitParts = 3;
inline constexpr int64_t kPartSize = 2 * kTileHeight * kTileDepth;  // one part of a step: two tiles
inline constexpr int64_t kStepSize = kSplitParts * kPartSize;       // of 32 rows or columns
// The split rows of x stay in the second cache, 1.2 MB, for all panels; a split panel takes 74 KB.
inline constexpr int64_t kSplitDepth = 384;
inline constexpr int64_t kSplitBlockRows = 512;

// Splits 32 floats; in each part the low halves of the words are of `low`, the high ones of `high`.
inline void split_parts(__m512 low, __m512 high, uint16_t* out) {
  const __m512i upper_half = _mm512_set1_epi32(INT32_MIN >> 15);
#pragma GCC unroll 3
  for (int part = 0; part < kSplitParts; ++part) {
    const __m512i l = _mm512_castps_si512(low), h = _mm512_castps_si512(high);
    _mm512_store_si512(out + part * kPartSize,
                       _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(l, 16), h));
    low = _mm512_sub_ps(low, _mm512_castsi512_ps(_mm512_and_si512(l, upper_half)));
    high = _mm512_sub_ps(high, _mm512_castsi512_ps(_mm512_and_si512(h, upper_half)));
  }
}

// Up to 32 rows of x, `depth` elements each, as steps of three parts: [step][part][row][32]. A pair
// is k = j and k = 16 + j of a step, in x as in the weight.
inline void split_rows(const float* x, int64_t stride, int64_t rows, int64_t depth, uint16_t* out) {
  for (int64_t i = 0; i < depth; i += kTileDepth, out += kStepSize) {
    const int64_t left = depth - i;
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = x + r * stride + i;
      uint16_t* to = out + r * kTileDepth;
      if (left >= kTileDepth) {
        split_parts(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16), to);
      } else {
        const auto mask = static_cast<__mmask32>((1u << left) - 1u);
        split_parts(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from),
                    _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + 16), to);
      }
    }
  }
}

// Pairs [first, last) of a step of a panel, [32, 32], as three parts:
// [part][half of the columns][pair][16][2].
inline void split_columns(const float* panel, int64_t first, int64_t last, uint16_t* out) {
  constexpr int64_t kAhead = 2 * kTileDepth * kSumColumns;
  for (int64_t pair = first; pair < last; ++pair) {
    const float* low = panel + pair * kSumColumns;
    const float* high = low + kTileHeight * kSumColumns;
    for (const float* row : {low, high}) {
      Vec512::prefetch(row + kAhead);
      Vec512::prefetch(row + kAhead + 16);
    }
    uint16_t* to = out + pair * kTileDepth;
    split_parts(_mm512_load_ps(low), _mm512_load_ps(high), to);
    split_parts(_mm512_load_ps(low + 16), _mm512_load_ps(high + 16), to + kPartSize / 2);
  }
}

template <bool kBoth>
inline void load_rows(const uint16_t* part) {
  _tile_loadd(4, part, 64);
  if constexpr (kBoth) _tile_loadd(5, part + kPartSize / 2, 64);
}

inline void load_columns(const uint16_t* part) {
  _tile_loadd(6, part, 64);
  _tile_loadd(7, part + kPartSize / 2, 64);
}

// What a tile finds in b: the split panel; room for all of it, as other tiles follow; or room for
// two steps, which stay in the first cache, as none follows.
enum class Columns : uint8_t { kSplit, kToKeep, kToUseOnce };

// c[rows, 32] = start + a * panel over `depth`, rounded up to whole steps; start repeats one row
// when its stride is 0. The panel is split a step ahead, beside the tiles' work. The six products
// are in an order that changes only one factor at a time.
template <bool kBoth, Columns kColumns>
void split_tile(const uint16_t* a, const float* panel, uint16_t* b, int64_t depth,
                const float* start, int64_t start_stride, float* c, int64_t c_stride) {
  constexpr bool kSplits = kColumns != Columns::kSplit;
  if constexpr (kSplits) split_columns(panel, 0, kTileHeight, b);
  finish_writes();
  load_sums<kBoth>(start, start_stride);
  const int64_t steps = (depth + kTileDepth - 1) / kTileDepth;
  for (int64_t i = 0; i < steps; ++i, a += kStepSize) {
    const auto step_at = [&](int64_t step) {
      return b + (kColumns == Columns::kToUseOnce ? step % 2 : step) * kStepSize;
    };
    const uint16_t* columns = step_at(i);
    panel += kTileDepth * kSumColumns;
    const auto multiply_and_split = [&](int64_t quarter) {
      multiply_tiles<kBoth>();
      constexpr int64_t kPairs = kTileHeight / 4;
      if (kSplits && i + 1 < steps)
        split_columns(panel, quarter * kPairs, (quarter + 1) * kPairs, step_at(i + 1));
    };
    load_rows<kBoth>(a);
    load_columns(columns + 2 * kPartSize);
    multiply_and_split(0);
    load_columns(columns + kPartSize);
    multiply_and_split(1);
    load_rows<kBoth>(a + kPartSize);
    multiply_and_split(2);
    load_columns(columns);
    multiply_and_split(3);
    load_rows<kBoth>(a + 2 * kPartSize);
    multiply_tiles<kBoth>();
    load_rows<kBoth>(a);
    multiply_tiles<kBoth>();
    if constexpr (kSplits) finish_writes();
  }
  store_sums<kBoth>(c, c_stride);
  finish_writes();
}

using SplitTileFunction = void (*)(const uint16_t*, const float*, uint16_t*, int64_t, const float*,
                                   int64_t, float*, int64_t);

template <bool kBoth>
SplitTileFunction split_tile_for(Columns columns) {
  switch (columns) {
    case Columns::kSplit: return split_tile<kBoth, Columns::kSplit>;
    case Columns::kToKeep: return split_tile<kBoth, Columns::kToKeep>;
    case Columns::kToUseOnce: return split_tile<kBoth, Columns::kToUseOnce>;
  }
  return nullptr;
}

// What one thread writes on the way: the rows of x and one panel, both split, and a tile's sums.
struct SplitBuffers {
  alignas(64) uint16_t rows[kSplitBlockRows / kSumRows * kSplitDepth / kTileDepth * kStepSize];
  alignas(64) uint16_t panel[kSplitDepth / kTileDepth * kStepSize];
  alignas(64) float sums[kSumRows * kSumColumns];
  TileRows tiles;
};

// A part of a product: rows [row_begin, row_end) by k in [k_begin, k_begin + depth).
struct SplitPart {
  int64_t row_begin = 0, row_end = 0;
  int64_t k_begin = 0, depth = 0;

  int64_t tile_size() const { return (depth + kTileDepth - 1) / kTileDepth * kStepSize; }
};

inline void split_part_of_x(const GemmArgs& args, const SplitPart& part, uint16_t* out) {
  for_each_tile<kTileHeight>(
      part.row_begin, part.row_end, kSumRows, [&](int64_t row, int64_t rows) {
        const float* x = static_cast<const float*>(args.x) + row * args.x_stride + part.k_begin;
        split_rows(x, args.x_stride, rows, part.depth, out);
        out += part.tile_size();
      });
}

// The split rows of a part times columns [first, first + 32) of the weight. The sums of a part that
// is not the first go on from those that wait in `out`.
inline void multiply_part(const GemmArgs& args, const SplitPart& part, int64_t first,
                          SplitBuffers& buffers) {
  const int64_t n = args.weight.n, k = args.weight.k;
  const bool bf16 = args.out_dtype == DType::kBF16;
  const bool first_part = part.k_begin == 0, last_part = part.k_begin + part.depth == k;
  const int64_t width = n - first < kSumColumns ? n - first : kSumColumns;
  const bool direct =
      !last_part || (args.epilogue == Epilogue::kNone && !bf16 && width == kSumColumns);
  const FinishFunction finish =
      bf16 ? finish_for<Vec512, true>(args.epilogue) : finish_for<Vec512, false>(args.epilogue);
  alignas(64) float bias[kSumColumns] = {};
  if (args.bias) {
    for (int64_t j = 0; j < width; ++j) bias[j] = args.bias[first + j];
  }
  const int64_t padded_k = (k + kTileDepth - 1) / kTileDepth * kTileDepth;
  const float* panel =
      static_cast<const float*>(args.weight.data) + first * padded_k + part.k_begin * kSumColumns;
  const uint16_t* split = buffers.rows;
  for_each_tile<kTileHeight>(
      part.row_begin, part.row_end, kSumRows, [&](int64_t row, int64_t rows) {
        buffers.tiles.set(rows);
        void* out = static_cast<char*>(args.out) + (row * args.out_stride + first) * (bf16 ? 2 : 4);
        float* c = direct ? static_cast<float*>(out) : buffers.sums;
        const int64_t c_stride = direct ? args.out_stride : kSumColumns;
        const float* start = first_part ? bias : static_cast<const float*>(out);
        const int64_t start_stride = first_part ? 0 : args.out_stride;
        const Columns columns = row > part.row_begin        ? Columns::kSplit
                                : row + rows < part.row_end ? Columns::kToKeep
                                                            : Columns::kToUseOnce;
        const SplitTileFunction multiply =
            rows > kTileHeight ? split_tile_for<true>(columns) : split_tile_for<false>(columns);
        multiply(split, panel, buffers.panel, part.depth, start, start_stride, c, c_stride);
        if (!direct) finish(buffers.sums, kSumColumns, rows, width, out, args.out_stride);
        split += part.tile_size();
      });
}

// A block of a product of fp32. Beyond one depth the sums wait in `out`, so it must hold them
// whole; where it cannot, the product is AVX-512's: a choice that depends on the weight and on the
// type of the result alone.
inline void split_gemm_block(const GemmArgs& args, const GemmBlock& block) {
  const int64_t k = args.weight.k;
  if (k > kSplitDepth && (args.out_dtype == DType::kBF16 || args.weight.n % kSumColumns != 0))
    return gemm_block<Vec512, F32Tiles<Vec512, Vec512::kTileRows, Vec512::kTileVectors>,
                      kTileDepth>(args, block);
  SplitBuffers buffers;
  const auto work = [&](int64_t begin, int64_t count) {
    for (int64_t i = 0; i < k; i += kSplitDepth) {
      const SplitPart part{.row_begin = begin,
                           .row_end = begin + count,
                           .k_begin = i,
                           .depth = k - i < kSplitDepth ? k - i : kSplitDepth};
      split_part_of_x(args, part, buffers.rows);
      for (int64_t p = block.panel_begin; p < block.panel_end; ++p)
        multiply_part(args, part, p * kSumColumns, buffers);
    }
  };
  for_each_tile<kSumRows>(block.row_begin, block.row_end, kSplitBlockRows, work);
}

}  // namespace
}  // namespace millrace::cpu
