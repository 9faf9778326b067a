// The row-wise kernels of decoders, as templates over the vector type.
#pragma once

#include "kernels/cpu/norm_impl.h"

namespace millrace::cpu {
namespace {

// 1 / sqrt(mean(x^2) + eps).
template <class V>
float inverse_rms(const float* x, int64_t width, float eps) {
  auto squares = V::zero();
  for_each_vector<V>(
      width,
      [&](int64_t j) {
        const auto y = V::load(x + j);
        squares = V::fma(y, y, squares);
      },
      [&](int64_t j, int64_t n) {
        const auto y = V::load_part(x + j, n);
        squares = V::fma(y, y, squares);
      });
  return 1.0f / __builtin_sqrtf(V::sum(squares) / static_cast<float>(width) + eps);
}

// Calls body(values, offset, elements) for each vector of norm(x); the last may be a part.
template <class V, class Body>
inline void for_each_normed(const float* x, int64_t width, const RmsWeights& norm,
                            const Body& body) {
  const auto inverse = V::set1(inverse_rms<V>(x, width, norm.eps));
  const auto offset = V::set1(norm.offset);
  for_each_vector<V>(
      width,
      [&](int64_t j) {
        const auto weight = V::add(V::load(norm.gamma + j), offset);
        body(V::mul(V::mul(V::load(x + j), inverse), weight), j, V::kWidth);
      },
      [&](int64_t j, int64_t n) {
        const auto weight = V::add(V::load_part(norm.gamma + j, n), offset);
        body(V::mul(V::mul(V::load_part(x + j, n), inverse), weight), j, n);
      });
}

// The first n elements of `y` to fp32 or bf16 memory.
template <class V>
inline void store_as(void* out, DType dtype, int64_t index, typename V::Reg y, int64_t n) {
  if (dtype == DType::kBF16) {
    uint16_t* to = static_cast<uint16_t*>(out) + index;
    if (n == V::kWidth) {
      V::store_bf16(to, y);
    } else {
      V::store_bf16_part(to, y, n);
    }
  } else {
    float* to = static_cast<float*>(out) + index;
    if (n == V::kWidth) {
      V::store(to, y);
    } else {
      V::store_part(to, y, n);
    }
  }
}

// x += scale * y for n elements.
template <class V>
inline void add_scaled(float* x, typename V::Reg y, float scale, int64_t n) {
  if (n == V::kWidth) {
    V::store(x, V::fma(y, V::set1(scale), V::load(x)));
  } else {
    V::store_part(x, V::fma(y, V::set1(scale), V::load_part(x, n)), n);
  }
}

template <class V>
void rms_norm_rows(const RmsNormArgs& args, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    float* x = args.x + r * args.x_stride;
    if (args.delta) {
      const float* delta = args.delta + r * args.delta_stride;
      const auto add = [&](typename V::Reg y, int64_t j, int64_t n) {
        add_scaled<V>(x + j, y, args.scale, n);
      };
      if (args.delta_norm.gamma) {
        for_each_normed<V>(delta, args.width, args.delta_norm, add);
      } else {
        for_each_vector<V>(
            args.width, [&](int64_t j) { add(V::load(delta + j), j, V::kWidth); },
            [&](int64_t j, int64_t n) { add(V::load_part(delta + j, n), j, n); });
      }
    }
    for_each_normed<V>(x, args.width, args.norm, [&](typename V::Reg y, int64_t j, int64_t n) {
      store_as<V>(args.out, args.out_dtype, r * args.out_stride + j, y, n);
    });
  }
}

template <class V, Epilogue kFunction>
void act_and_mul_range(const ActAndMulArgs& args, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float* gate = args.x + r * args.x_stride;
    const float* up = gate + args.width;
    const auto finish = [&](typename V::Reg g, typename V::Reg u, int64_t j, int64_t n) {
      store_as<V>(args.out, args.out_dtype, r * args.out_stride + j,
                  V::mul(activate<V, kFunction>(g), u), n);
    };
    for_each_vector<V>(
        args.width, [&](int64_t j) { finish(V::load(gate + j), V::load(up + j), j, V::kWidth); },
        [&](int64_t j, int64_t n) {
          finish(V::load_part(gate + j, n), V::load_part(up + j, n), j, n);
        });
  }
}

template <class V>
void act_and_mul_rows(const ActAndMulArgs& args, int64_t begin, int64_t end) {
  switch (args.function) {
    case Epilogue::kNone: return act_and_mul_range<V, Epilogue::kNone>(args, begin, end);
    case Epilogue::kRelu: return act_and_mul_range<V, Epilogue::kRelu>(args, begin, end);
    case Epilogue::kGelu: return act_and_mul_range<V, Epilogue::kGelu>(args, begin, end);
    case Epilogue::kGeluTanh: return act_and_mul_range<V, Epilogue::kGeluTanh>(args, begin, end);
    case Epilogue::kSilu: return act_and_mul_range<V, Epilogue::kSilu>(args, begin, end);
    case Epilogue::kTanh: return act_and_mul_range<V, Epilogue::kTanh>(args, begin, end);
  }
}

// c tanh(x / c).
template <class V>
inline typename V::Reg cap_of(typename V::Reg x, float cap) {
  return V::mul(V::set1(cap), tanh_of<V>(V::mul(x, V::set1(1.0f / cap))));
}

template <class V>
void scale_and_cap_rows(const ScaleAndCapArgs& args, int64_t row_begin, int64_t row_end) {
  const auto scale = V::set1(args.scale);
  const auto value = [&](typename V::Reg x) {
    const auto y = V::mul(x, scale);
    return args.soft_cap > 0.0f ? cap_of<V>(y, args.soft_cap) : y;
  };
  for (int64_t r = row_begin; r < row_end; ++r) {
    float* x = args.x + r * args.stride;
    for_each_vector<V>(
        args.width, [&](int64_t j) { V::store(x + j, value(V::load(x + j))); },
        [&](int64_t j, int64_t n) { V::store_part(x + j, value(V::load_part(x + j, n)), n); });
  }
}

}  // namespace
}  // namespace millrace::cpu
