// Attention of one head over one sequence, as a template over the vector type.
//
// Keys are taken in blocks that start at the sequence's start. For each block K is transposed and V
// copied into panels of the product's layout, so that both Q K^T and P V are gemm_tile. Between
// blocks the softmax is carried on by its running maximum and sum (Milakov and Gimelshein, "Online
// normalizer calculation for softmax"). Every sum is one chain over head_dim or over the keys in
// order, so a row's bits do not depend on which queries share its tile.
#pragma once

#include "kernels/cpu/gemm_impl.h"
#include "kernels/cpu/norm_impl.h"

namespace millrace::cpu {
namespace {

// Keys of one block: 128 KB of K and as much of V. A multiple of every panel width.
inline constexpr int64_t kBlockFloats = 32 * 1024;
inline int64_t keys_per_block(int64_t head_dim) {
  return head_dim <= 64 ? 512 : head_dim <= 128 ? 256 : 128;
}
inline constexpr int64_t kMaxBlockKeys = 512;

// The first `count` elements from p on, which may be none or more than a vector; zeros after them.
template <class V>
inline typename V::Reg load_up_to(const float* p, int64_t count) {
  return count >= V::kWidth ? V::load(p) : count > 0 ? V::load_part(p, count) : V::zero();
}

// The transpose of x [keys, head_dim] in panels of keys; the last panel is filled up with zeros.
template <class V>
void pack_keys(const float* x, int64_t stride, int64_t keys, int64_t head_dim, float* out) {
  constexpr int64_t kWidth = kPanelWidth<V>;
  const int64_t padded = (keys + kWidth - 1) / kWidth * kWidth;
  for (int64_t key = 0; key < padded; key += V::kWidth) {
    float* column = out + key / kWidth * kWidth * head_dim + key % kWidth;
    for (int64_t i = 0; i < head_dim; i += V::kWidth) {
      typename V::Reg rows[V::kWidth];
      for (int64_t r = 0; r < V::kWidth; ++r)
        rows[r] =
            key + r < keys ? load_up_to<V>(x + (key + r) * stride + i, head_dim - i) : V::zero();
      V::transpose(rows);
      const int64_t count = head_dim - i < V::kWidth ? head_dim - i : V::kWidth;
      for (int64_t r = 0; r < count; ++r) V::store(column + (i + r) * kWidth, rows[r]);
    }
  }
}

// x [keys, head_dim] in panels of head_dim; the last panel is filled up with zeros.
template <class V>
void pack_values(const float* x, int64_t stride, int64_t keys, int64_t head_dim, float* out) {
  constexpr int64_t kWidth = kPanelWidth<V>;
  for (int64_t first = 0; first < head_dim; first += kWidth) {
    for (int64_t key = 0; key < keys; ++key, out += kWidth) {
      const float* row = x + key * stride + first;
      for (int64_t j = 0; j < kWidth; j += V::kWidth)
        V::store(out + j, load_up_to<V>(row + j, head_dim - first - j));
    }
  }
}

// The running state of one query's softmax.
struct RowState {
  float maximum;  // of the scores so far, times scale * log2(e)
  float sum;      // of 2^(score - maximum)
};

// Turns `keys` scores into 2^(factor * score - maximum) in place and updates `state`. Returns the
// factor for what earlier blocks have summed up.
template <class V>
float exp_scores(float* scores, int64_t keys, float factor, RowState& state) {
  constexpr float kLowest = -__builtin_inff();
  const auto scale = V::set1(factor);
  auto most = V::set1(kLowest);
  for_each_vector<V>(
      keys, [&](int64_t j) { most = V::max(most, V::load(scores + j)); },
      [&](int64_t j, int64_t n) {
        most = V::max(most, V::keep_first(V::load(scores + j), n, kLowest));
      });
  const float here = V::maximum(most) * factor;
  const float maximum = here > state.maximum ? here : state.maximum;
  const auto shift = V::set1(-maximum);
  auto sum = V::zero();
  for_each_vector<V>(
      keys,
      [&](int64_t j) {
        const auto e = exp2_of<V>(V::fma(V::load(scores + j), scale, shift));
        sum = V::add(sum, e);
        V::store(scores + j, e);
      },
      [&](int64_t j, int64_t n) {
        const auto e = exp2_of<V>(V::fma(V::load(scores + j), scale, shift));
        sum = V::add(sum, V::keep_first(e, n, 0.0f));
        V::store(scores + j, e);
      });
  float carried = 0.0f;
  if (state.sum > 0.0f) {
    alignas(64) float factors[V::kWidth];
    V::store(factors, exp2_of<V>(V::set1(state.maximum - maximum)));
    carried = factors[0];
  }
  state.sum = state.sum * carried + V::sum(sum);
  state.maximum = maximum;
  return carried;
}

template <class V>
void attention_item(const AttentionArgs& args, const AttentionItem& item) {
  constexpr int64_t kWidth = kPanelWidth<V>;
  constexpr float kLog2E = 1.44269504f;
  alignas(64) float k_panels[kBlockFloats];
  alignas(64) float v_panels[kBlockFloats];
  alignas(64) float scores[V::kTileRows * kMaxBlockKeys];
  alignas(64) float sums[kMaxItemQueries * kMaxHeadDim];
  alignas(64) const float zeros[kWidth] = {};
  RowState states[kMaxItemQueries];

  const int64_t head_dim = args.head_dim;
  const int64_t d_panels = (head_dim + kWidth - 1) / kWidth;
  const int64_t sums_stride = d_panels * kWidth;
  const int64_t keys_total = item.token_end - item.token_begin;
  const int64_t queries = item.query_end - item.query_begin;
  const int64_t block = keys_per_block(head_dim);
  const int64_t column = item.head * head_dim;
  const int64_t first_query = item.token_begin + item.query_begin;
  const float* q = args.q + first_query * args.q_stride + column;
  const float factor = args.scale * kLog2E;
  for (int64_t i = 0; i < queries; ++i) states[i] = {-__builtin_inff(), 0.0f};

  for (int64_t begin = 0; begin < keys_total; begin += block) {
    const int64_t keys = keys_total - begin < block ? keys_total - begin : block;
    const int64_t token = item.token_begin + begin;
    pack_keys<V>(args.k + token * args.k_stride + column, args.k_stride, keys, head_dim, k_panels);
    pack_values<V>(args.v + token * args.v_stride + column, args.v_stride, keys, head_dim,
                   v_panels);
    for_each_tile(0, queries, V::kTileRows, [&](int64_t row, int64_t rows) {
      const TileFunction tile = tile_for<V, false>(rows);
      for (int64_t key = 0; key < keys; key += kWidth)
        tile(q + row * args.q_stride, args.q_stride, k_panels + key * head_dim, head_dim, zeros,
             scores + key, kMaxBlockKeys);
      for (int64_t r = 0; r < rows; ++r) {
        const float carried =
            exp_scores<V>(scores + r * kMaxBlockKeys, keys, factor, states[row + r]);
        if (begin == 0) continue;
        float* sum = sums + (row + r) * sums_stride;
        for (int64_t j = 0; j < sums_stride; j += V::kWidth)
          V::store(sum + j, V::mul(V::load(sum + j), V::set1(carried)));
      }
      const TileFunction sum_up = begin == 0 ? tile : tile_for<V, true>(rows);
      for (int64_t p = 0; p < d_panels; ++p)
        sum_up(scores, kMaxBlockKeys, v_panels + p * kWidth * keys, keys, zeros,
               sums + row * sums_stride + p * kWidth, sums_stride);
    });
  }

  for (int64_t i = 0; i < queries; ++i) {
    const auto scale = V::set1(1.0f / states[i].sum);
    const float* sum = sums + i * sums_stride;
    const int64_t offset = (first_query + i) * args.out_stride + column;
    if (args.out_dtype == DType::kBF16) {
      uint16_t* out = static_cast<uint16_t*>(args.out) + offset;
      for_each_vector<V>(
          head_dim, [&](int64_t j) { V::store_bf16(out + j, V::mul(V::load(sum + j), scale)); },
          [&](int64_t j, int64_t n) {
            V::store_bf16_part(out + j, V::mul(V::load(sum + j), scale), n);
          });
    } else {
      float* out = static_cast<float*>(args.out) + offset;
      for_each_vector<V>(
          head_dim, [&](int64_t j) { V::store(out + j, V::mul(V::load(sum + j), scale)); },
          [&](int64_t j, int64_t n) {
            V::store_part(out + j, V::mul(V::load(sum + j), scale), n);
          });
    }
  }
}

}  // namespace
}  // namespace millrace::cpu
