// Paged keys and values of one head after another, as templates over the vector type.
//
// Attention keeps the softmax by its running maximum and sum (Milakov and Gimelshein, "Online
// normalizer calculation for softmax"), in tiles of kKeyTile positions. A score is one chain over
// head_dim, an output one chain over the keys in order; what a row does not see adds nothing to its
// sums and does not touch its maximum.
#pragma once

#include "kernels/cpu/attention_impl.h"
#include "kernels/cpu/decoder_rows_impl.h"

namespace millrace::cpu {
namespace {

inline constexpr int64_t kKeyTile = 128;  // positions; a multiple of kKeyPanel

template <class V>
void rotate_halves(float* head, const float* cosines, const float* sines, int64_t half) {
  const auto rotate = [](typename V::Reg& x, typename V::Reg& y, typename V::Reg c,
                         typename V::Reg s) {
    const auto turned = V::sub(V::mul(x, c), V::mul(y, s));
    y = V::fma(y, c, V::mul(x, s));
    x = turned;
  };
  for_each_vector<V>(
      half,
      [&](int64_t j) {
        auto x = V::load(head + j), y = V::load(head + half + j);
        rotate(x, y, V::load(cosines + j), V::load(sines + j));
        V::store(head + j, x);
        V::store(head + half + j, y);
      },
      [&](int64_t j, int64_t n) {
        auto x = V::load_part(head + j, n), y = V::load_part(head + half + j, n);
        rotate(x, y, V::load_part(cosines + j, n), V::load_part(sines + j, n));
        V::store_part(head + j, x, n);
        V::store_part(head + half + j, y, n);
      });
}

inline void rotate_neighbours(float* head, const float* cosines, const float* sines, int64_t half) {
  for (int64_t j = 0; j < half; ++j) {
    const float x = head[2 * j], y = head[2 * j + 1];
    head[2 * j] = x * cosines[j] - y * sines[j];
    head[2 * j + 1] = y * cosines[j] + x * sines[j];
  }
}

template <class V>
void norm_and_rotate(float* head, const RmsWeights& norm, const RopeWriteArgs& args,
                     const float* angles) {
  if (norm.gamma) {
    for_each_normed<V>(head, args.kv.head_dim, norm, [&](typename V::Reg y, int64_t j, int64_t n) {
      store_as<V>(head, DType::kF32, j, y, n);
    });
  }
  const int64_t half = args.rotary_dim / 2;
  if (args.interleaved) {
    rotate_neighbours(head, angles, angles + half, half);
  } else {
    rotate_halves<V>(head, angles, angles + half, half);
  }
}

template <class V>
void rope_write_rows(const RopeWriteArgs& args, int64_t row_begin, int64_t row_end) {
  const PagedKv& kv = args.kv;
  for (int64_t r = row_begin; r < row_end; ++r) {
    float* head = args.qkv + r * args.qkv_stride;
    const float* angles = args.angles + r * args.angles_stride;
    for (int64_t h = 0; h < args.num_heads; ++h, head += kv.head_dim)
      norm_and_rotate<V>(head, args.q_norm, args, angles);
    const int64_t block = args.slots[r] / kv.block_size;
    const int64_t position = args.slots[r] % kv.block_size;
    const int64_t panel = position / kKeyPanel * kKeyPanel;
    for (int64_t h = 0; h < kv.num_kv_heads; ++h, head += kv.head_dim) {
      norm_and_rotate<V>(head, args.k_norm, args, angles);
      float* key = kv.k + kv.offset(block, h) + panel * kv.head_dim + (position - panel);
      for (int64_t i = 0; i < kv.head_dim; ++i) key[i * kKeyPanel] = head[i];
    }
    for (int64_t h = 0; h < kv.num_kv_heads; ++h, head += kv.head_dim)
      copy_row<V>(head, kv.v + kv.offset(block, h) + position * kv.head_dim, kv.head_dim);
  }
}

// scores[R, P kKeyPanel] = q[R, head_dim] * panels[P, head_dim, kKeyPanel].
template <class V, int R, int P>
void score_tile(const float* q, int64_t q_stride, const float* panels, int64_t head_dim,
                float* scores) {
  constexpr int N = kKeyPanel / V::kWidth;
  typename V::Reg sum[R][P * N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < P * N; ++j) sum[r][j] = V::zero();
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < head_dim; ++i) {
    typename V::Reg k[P * N];
#pragma GCC unroll 8
    for (int j = 0; j < P * N; ++j)
      k[j] = V::load(panels + (j / N * head_dim + i) * kKeyPanel + j % N * V::kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto x = V::set1(q[r * q_stride + i]);
#pragma GCC unroll 8
      for (int j = 0; j < P * N; ++j) sum[r][j] = V::fma(x, k[j], sum[r][j]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < P * N; ++j) V::store(scores + r * kKeyTile + j * V::kWidth, sum[r][j]);
  }
}

// sums[R, N vectors] += weights[R, keys] * values[keys, N vectors].
template <class V, int R, int N>
void value_tile(const float* weights, const float* values, int64_t values_stride, int64_t keys,
                float* sums, int64_t sums_stride) {
  typename V::Reg sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) sum[r][j] = V::load(sums + r * sums_stride + j * V::kWidth);
  }
#pragma GCC unroll 2
  for (int64_t key = 0; key < keys; ++key, values += values_stride) {
    typename V::Reg v[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) v[j] = V::load(values + j * V::kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const auto x = V::set1(weights[r * kKeyTile + key]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[r][j] = V::fma(x, v[j], sum[r][j]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) V::store(sums + r * sums_stride + j * V::kWidth, sum[r][j]);
  }
}

// Few rows, as when one token is decoded, wait for memory: their tiles are wide, so that keys and
// values pass by in the order in which they lie. The chains of the sums are the same.
inline constexpr int kFewRows = 4;
template <class V>
inline constexpr int kWideVectors = V::kWidth == 16 ? 8 : 4;  // of a tile of at most 2 rows
template <class V>
inline constexpr int64_t kTwoPanelRows = V::kWidth == 16 ? kFewRows : 2;

template <class V, int P, int R>
auto score_tile_for(int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return score_tile_for<V, P, R - 1>(rows);
  }
  return score_tile<V, R, P>;
}

template <class V, int N, int R>
auto value_tile_for(int64_t rows) {
  if constexpr (R > 1) {
    if (rows < R) return value_tile_for<V, N, R - 1>(rows);
  }
  return value_tile<V, R, N>;
}

using ScoreTile = void (*)(const float*, int64_t, const float*, int64_t, float*);
using ValueTile = void (*)(const float*, const float*, int64_t, int64_t, float*, int64_t);

template <class V>
ScoreTile score_tile_of(int64_t rows, int64_t panels) {
  return panels == 2 ? score_tile_for<V, 2, kFewRows>(rows)
                     : score_tile_for<V, 1, V::kTileRows>(rows);
}

// A tile of `vectors` vectors, as value_vectors() says.
template <class V>
ValueTile value_tile_of(int64_t rows, int64_t vectors) {
  if (vectors == V::kTileVectors) return value_tile_for<V, V::kTileVectors, V::kTileRows>(rows);
  if (vectors == kWideVectors<V>) return value_tile_for<V, kWideVectors<V>, 2>(rows);
  return value_tile_for<V, kWideVectors<V> / 2, kFewRows>(rows);
}

// The width of the tiles of `rows` rows of head_dim values, in vectors.
template <class V>
int64_t value_vectors(int64_t rows, int64_t head_dim) {
  int64_t vectors = rows <= 2          ? kWideVectors<V>
                    : rows <= kFewRows ? kWideVectors<V> / 2
                                       : V::kTileVectors;
  while (vectors > V::kTileVectors && vectors * V::kWidth > head_dim) vectors /= 2;
  return vectors;
}

// Turns the scores of a row in [begin, end) of a tile into weights, and the others into zeros.
// Returns the factor for what earlier tiles have summed up.
template <class V>
float weigh_scores(float* scores, int64_t begin, int64_t end, float scale, float soft_cap,
                   RowState& state) {
  constexpr float kLowest = -__builtin_inff();
  constexpr float kLog2E = 1.44269504f;
  const int64_t first = begin / V::kWidth * V::kWidth;
  const int64_t last = (end + V::kWidth - 1) / V::kWidth * V::kWidth;
  const float factor = soft_cap > 0.0f ? kLog2E : scale * kLog2E;
  if (soft_cap > 0.0f) {
    for (int64_t j = first; j < last; j += V::kWidth)
      V::store(scores + j, cap_of<V>(V::mul(V::load(scores + j), V::set1(scale)), soft_cap));
  }
  for (int64_t j = first; j < begin; ++j) scores[j] = kLowest;
  for (int64_t j = end; j < last; ++j) scores[j] = kLowest;
  auto most = V::set1(kLowest);
  for (int64_t j = first; j < last; j += V::kWidth)
    most = V::max(most, V::mul(V::load(scores + j), V::set1(factor)));
  const float here = V::maximum(most);
  const float maximum = here > state.maximum ? here : state.maximum;
  const auto shift = V::set1(-maximum);
  for (int64_t j = first; j < last; j += V::kWidth)
    V::store(scores + j, exp2_of<V>(V::fma(V::load(scores + j), V::set1(factor), shift)));
  for (int64_t j = 0; j < begin; ++j) scores[j] = 0.0f;
  for (int64_t j = end; j < kKeyTile; ++j) scores[j] = 0.0f;
  auto sum = V::zero();
  for (int64_t j = first; j < last; j += V::kWidth) sum = V::add(sum, V::load(scores + j));
  float carried = 1.0f;  // exactly, where the maximum stays: errors must not grow with the length
  if (maximum != state.maximum) {
    alignas(64) float factors[V::kWidth];
    V::store(factors, exp2_of<V>(V::set1(state.maximum - maximum)));
    carried = factors[0];
  }
  state.sum = state.sum * carried + V::sum(sum);
  state.maximum = maximum;
  return carried;
}

// Scratch of one item.
template <class V>
struct PagedScratch {
  static constexpr int64_t kSumsWidth = kMaxHeadDim;

  alignas(64) float q[kPagedItemRows * kMaxHeadDim];
  alignas(64) float scores[kPagedItemRows * kKeyTile];
  alignas(64) float sums[kPagedItemRows * kSumsWidth];
  RowState states[kPagedItemRows];
};

template <class V>
void paged_attention_item(const PagedAttentionArgs& args, const PagedAttentionItem& item) {
  PagedScratch<V> scratch;
  const PagedKv& kv = args.kv;
  const int64_t head_dim = kv.head_dim;
  const int64_t group = args.num_heads / kv.num_kv_heads;
  const int64_t count = item.end - item.begin;
  const int64_t first_row = args.cu_seqlens[item.sequence];
  const int64_t rows = args.cu_seqlens[item.sequence + 1] - first_row;
  const int64_t first_position = args.kv_lengths[item.sequence] - rows;
  const int32_t* table = args.block_table + item.sequence * args.table_width;
  const int64_t tile_rows = count <= kFewRows ? count : V::kTileRows;
  const int64_t vectors = value_vectors<V>(count, head_dim);
  const int64_t width = vectors * V::kWidth;
  const int64_t sums_stride = (head_dim + width - 1) / width * width;
  const auto offset_of = [&](int64_t i, int64_t stride) {
    return (first_row + (item.begin + i) / group) * stride +
           (item.kv_head * group + (item.begin + i) % group) * head_dim;
  };
  const auto end_of = [&](int64_t i) { return first_position + (item.begin + i) / group + 1; };
  const auto begin_of = [&](int64_t i) {
    const int64_t begin = end_of(i) - args.window;
    return args.window > 0 && begin > 0 ? begin : 0;
  };
  for (int64_t i = 0; i < count; ++i) {
    copy_row<V>(args.q + offset_of(i, args.q_stride), scratch.q + i * head_dim, head_dim);
    scratch.states[i] = {-__builtin_inff(), 0.0f};
  }
  for (int64_t i = 0; i < count * sums_stride; i += V::kWidth)
    V::store(scratch.sums + i, V::zero());

  const int64_t keys_begin = begin_of(0), keys_end = end_of(count - 1);
  for (int64_t tile = keys_begin / kKeyTile * kKeyTile; tile < keys_end; tile += kKeyTile) {
    const int64_t begin = tile > keys_begin ? tile : keys_begin;
    const int64_t end = tile + kKeyTile < keys_end ? tile + kKeyTile : keys_end;
    for (int64_t key = begin / kKeyPanel * kKeyPanel, panels = 0; key < end;
         key += panels * kKeyPanel) {
      const int64_t offset = key % kv.block_size;
      const bool two =
          count <= kTwoPanelRows<V> && key + kKeyPanel < end && offset + kKeyPanel < kv.block_size;
      panels = two ? 2 : 1;
      const float* keys =
          kv.k + kv.offset(table[key / kv.block_size], item.kv_head) + offset * head_dim;
      for_each_tile(0, count, tile_rows, [&](int64_t row, int64_t height) {
        score_tile_of<V>(height, panels)(scratch.q + row * head_dim, head_dim, keys, head_dim,
                                         scratch.scores + row * kKeyTile + key - tile);
      });
    }
    for (int64_t i = 0; i < count; ++i) {
      float* scores = scratch.scores + i * kKeyTile;
      const int64_t from = begin_of(i) > tile ? begin_of(i) - tile : 0;
      const int64_t to = end_of(i) - tile < kKeyTile ? end_of(i) - tile : kKeyTile;
      if (from >= to) {
        for (int64_t j = 0; j < kKeyTile; ++j) scores[j] = 0.0f;
        continue;
      }
      const bool first = scratch.states[i].sum == 0.0f;
      const float carried =
          weigh_scores<V>(scores, from, to, args.scale, args.soft_cap, scratch.states[i]);
      if (first || carried == 1.0f) continue;
      float* sums = scratch.sums + i * sums_stride;
      for (int64_t j = 0; j < sums_stride; j += V::kWidth)
        V::store(sums + j, V::mul(V::load(sums + j), V::set1(carried)));
    }
    for (int64_t key = begin, next = 0; key < end; key = next) {
      const int64_t block_end = (key / kv.block_size + 1) * kv.block_size;
      next = block_end < end ? block_end : end;
      const float* values = kv.v + kv.offset(table[key / kv.block_size], item.kv_head) +
                            key % kv.block_size * head_dim;
      for_each_tile(0, count, tile_rows, [&](int64_t row, int64_t height) {
        const ValueTile sum_up = value_tile_of<V>(height, vectors);
        for (int64_t j = 0; j < head_dim; j += width)
          sum_up(scratch.scores + row * kKeyTile + key - tile, values + j, head_dim, next - key,
                 scratch.sums + row * sums_stride + j, sums_stride);
      });
    }
  }

  for (int64_t i = 0; i < count; ++i) {
    const auto scale = V::set1(1.0f / scratch.states[i].sum);
    const float* sums = scratch.sums + i * sums_stride;
    const int64_t out = offset_of(i, args.out_stride);
    for_each_vector<V>(
        head_dim,
        [&](int64_t j) {
          store_as<V>(args.out, args.out_dtype, out + j, V::mul(V::load(sums + j), scale),
                      V::kWidth);
        },
        [&](int64_t j, int64_t n) {
          store_as<V>(args.out, args.out_dtype, out + j, V::mul(V::load(sums + j), scale), n);
        });
  }
}

}  // namespace
}  // namespace millrace::cpu
