// Pooling, normalisation and scores of single rows, as templates over the vector type.
#pragma once

#include "kernels/cpu/norm_impl.h"

namespace millrace::cpu {
namespace {

template <class V>
void pool_sequences(const PoolArgs& args, int64_t seq_begin, int64_t seq_end) {
  for (int64_t s = seq_begin; s < seq_end; ++s) {
    const int64_t begin = args.cu_seqlens[s];
    const int64_t end = args.cu_seqlens[s + 1];
    float* out = args.out + s * args.out_stride;
    if (args.mode != PoolingMode::kMean) {
      const int64_t row = args.mode == PoolingMode::kFirst ? begin : end - 1;
      copy_row<V>(args.x + row * args.x_stride, out, args.width);
      continue;
    }
    const auto scale = V::set1(1.0f / static_cast<float>(end - begin));
    for_each_vector<V>(
        args.width,
        [&](int64_t j) {
          auto sum = V::zero();
          for (int64_t r = begin; r < end; ++r)
            sum = V::add(sum, V::load(args.x + r * args.x_stride + j));
          V::store(out + j, V::mul(sum, scale));
        },
        [&](int64_t j, int64_t n) {
          auto sum = V::zero();
          for (int64_t r = begin; r < end; ++r)
            sum = V::add(sum, V::load_part(args.x + r * args.x_stride + j, n));
          V::store_part(out + j, V::mul(sum, scale), n);
        });
  }
}

template <class V>
void scale_row(float* row, int64_t width, float factor) {
  const auto scale = V::set1(factor);
  for_each_vector<V>(
      width, [&](int64_t j) { V::store(row + j, V::mul(V::load(row + j), scale)); },
      [&](int64_t j, int64_t n) {
        V::store_part(row + j, V::mul(V::load_part(row + j, n), scale), n);
      });
}

template <class V>
void l2_normalize_rows(const RowsArgs& args, int64_t row_begin, int64_t row_end) {
  constexpr float kLeastNorm = 1e-12f;
  for (int64_t r = row_begin; r < row_end; ++r) {
    float* row = args.x + r * args.stride;
    auto squares = V::zero();
    for_each_vector<V>(
        args.width,
        [&](int64_t j) {
          const auto x = V::load(row + j);
          squares = V::fma(x, x, squares);
        },
        [&](int64_t j, int64_t n) {
          const auto x = V::load_part(row + j, n);
          squares = V::fma(x, x, squares);
        });
    const float norm = __builtin_sqrtf(V::sum(squares));
    scale_row<V>(row, args.width, 1.0f / (norm > kLeastNorm ? norm : kLeastNorm));
  }
}

template <class V>
void softmax_rows(const RowsArgs& args, int64_t row_begin, int64_t row_end) {
  constexpr float kLowest = -__builtin_inff();
  for (int64_t r = row_begin; r < row_end; ++r) {
    float* row = args.x + r * args.stride;
    auto most = V::set1(kLowest);
    for_each_vector<V>(
        args.width, [&](int64_t j) { most = V::max(most, V::load(row + j)); },
        [&](int64_t j, int64_t n) {
          most = V::max(most, V::keep_first(V::load_part(row + j, n), n, kLowest));
        });
    const auto maximum = V::set1(V::maximum(most));
    auto sum = V::zero();
    for_each_vector<V>(
        args.width,
        [&](int64_t j) {
          const auto e = exp_of<V>(V::sub(V::load(row + j), maximum));
          sum = V::add(sum, e);
          V::store(row + j, e);
        },
        [&](int64_t j, int64_t n) {
          const auto e = exp_of<V>(V::sub(V::load_part(row + j, n), maximum));
          sum = V::add(sum, V::keep_first(e, n, 0.0f));
          V::store_part(row + j, e, n);
        });
    scale_row<V>(row, args.width, 1.0f / V::sum(sum));
  }
}

template <class V>
void sigmoid_rows(const RowsArgs& args, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    float* row = args.x + r * args.stride;
    for_each_vector<V>(
        args.width, [&](int64_t j) { V::store(row + j, sigmoid_of<V>(V::load(row + j))); },
        [&](int64_t j, int64_t n) {
          V::store_part(row + j, sigmoid_of<V>(V::load_part(row + j, n)), n);
        });
  }
}

}  // namespace
}  // namespace millrace::cpu
