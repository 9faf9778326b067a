// Layer normalisation of one row after another, as templates over the vector type.
#pragma once

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/simd_math.h"

namespace millrace::cpu {
namespace {

// body(offset) for each whole vector of a row, then tail(offset, elements) for what is left.
template <class V, class Body, class Tail>
inline void for_each_vector(int64_t width, const Body& body, const Tail& tail) {
  int64_t j = 0;
  for (; j + V::kWidth <= width; j += V::kWidth) body(j);
  if (j < width) tail(j, width - j);
}

// Normalises `row` in place. Two passes: the mean first, then the squares of what is left of it.
template <class V>
void normalize_row(float* row, int64_t width, const NormWeights& norm, uint16_t* bf16_out) {
  const float scale = 1.0f / static_cast<float>(width);
  auto sum = V::zero();
  for_each_vector<V>(
      width, [&](int64_t j) { sum = V::add(sum, V::load(row + j)); },
      [&](int64_t j, int64_t n) { sum = V::add(sum, V::load_part(row + j, n)); });
  const auto mean = V::set1(V::sum(sum) * scale);

  auto squares = V::zero();
  for_each_vector<V>(
      width,
      [&](int64_t j) {
        const auto d = V::sub(V::load(row + j), mean);
        squares = V::fma(d, d, squares);
      },
      [&](int64_t j, int64_t n) {
        const auto d = V::keep_first(V::sub(V::load_part(row + j, n), mean), n, 0.0f);
        squares = V::fma(d, d, squares);
      });
  const float deviation = __builtin_sqrtf(V::sum(squares) * scale + norm.eps);
  const auto inverse = V::set1(1.0f / deviation);

  for_each_vector<V>(
      width,
      [&](int64_t j) {
        const auto d = V::mul(V::sub(V::load(row + j), mean), inverse);
        const auto y = V::fma(d, V::load(norm.gamma + j), V::load(norm.beta + j));
        V::store(row + j, y);
        if (bf16_out) V::store_bf16(bf16_out + j, y);
      },
      [&](int64_t j, int64_t n) {
        const auto d = V::mul(V::sub(V::load_part(row + j, n), mean), inverse);
        const auto y = V::fma(d, V::load_part(norm.gamma + j, n), V::load_part(norm.beta + j, n));
        V::store_part(row + j, y, n);
        if (bf16_out) V::store_bf16_part(bf16_out + j, y, n);
      });
}

template <class V>
void add_row(const float* x, const float* y, float* out, int64_t width) {
  for_each_vector<V>(
      width, [&](int64_t j) { V::store(out + j, V::add(V::load(x + j), V::load(y + j))); },
      [&](int64_t j, int64_t n) {
        V::store_part(out + j, V::add(V::load_part(x + j, n), V::load_part(y + j, n)), n);
      });
}

template <class V>
void copy_row(const float* x, float* out, int64_t width) {
  for_each_vector<V>(
      width, [&](int64_t j) { V::store(out + j, V::load(x + j)); },
      [&](int64_t j, int64_t n) { V::store_part(out + j, V::load_part(x + j, n), n); });
}

template <class V>
void layer_norm_rows(const LayerNormArgs& args, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float* x = args.x + r * args.x_stride;
    float* out = args.out + r * args.out_stride;
    if (args.delta) {
      add_row<V>(x, args.delta + r * args.delta_stride, out, args.width);
    } else if (out != x) {
      copy_row<V>(x, out, args.width);
    }
    normalize_row<V>(out, args.width, args.norm,
                     args.bf16_out ? args.bf16_out + r * args.bf16_out_stride : nullptr);
  }
}

template <class V>
void embed_rows(const EmbedArgs& args, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    float* out = args.out + r * args.out_stride;
    bool first = true;
    for (const EmbeddingTable& table : args.tables) {
      if (!table.table) continue;
      const int64_t index = table.indices ? table.indices[r] : 0;
      const float* row = table.table + index * args.width;
      if (first) {
        copy_row<V>(row, out, args.width);
      } else {
        add_row<V>(out, row, out, args.width);
      }
      first = false;
    }
    uint16_t* bf16_out = args.bf16_out ? args.bf16_out + r * args.bf16_out_stride : nullptr;
    if (args.norm.gamma) {
      normalize_row<V>(out, args.width, args.norm, bf16_out);
    } else if (bf16_out) {
      for_each_vector<V>(
          args.width, [&](int64_t j) { V::store_bf16(bf16_out + j, V::load(out + j)); },
          [&](int64_t j, int64_t n) {
            V::store_bf16_part(bf16_out + j, V::load_part(out + j, n), n);
          });
    }
  }
}

}  // namespace
}  // namespace millrace::cpu
