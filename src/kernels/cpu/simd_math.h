// Elementary functions of vectors, the same steps for each element: exp2, exp, erf, tanh, and the
// activations made of them. Templates over the vector types of simd_*.h.
//
// The polynomials are minimax fits (Lawson's iteration on Chebyshev nodes), rounded to float; the
// errors stated are those of the whole evaluation in float against double, over all arguments.
#pragma once

#include "kernels/cpu/gemm.h"

namespace millrace::cpu {
namespace {

// 2^x, relative error 3e-7, for x <= 127. Arguments below -100 count as -100: nothing beside 1, yet
// far from the subnormal numbers, which are slow. NaN stays NaN.
template <class V>
inline typename V::Reg exp2_of(typename V::Reg x) {
  x = V::max(V::set1(-100.0f), x);
  const auto n = V::round(x);
  const auto r = V::sub(x, n);
  auto p = V::set1(1.32764666e-3f);
  p = V::fma(p, r, V::set1(9.67554096e-3f));
  p = V::fma(p, r, V::set1(5.55071346e-2f));
  p = V::fma(p, r, V::set1(2.40221202e-1f));
  p = V::fma(p, r, V::set1(6.93146944e-1f));
  p = V::fma(p, r, V::set1(1.00000012f));
  return V::scale_by_power(p, n);
}

// e^x, relative error 1e-6 from -87 to 88; infinite from 89 on, and never less than e^-87, the
// subnormal numbers being slow. NaN stays NaN.
template <class V>
inline typename V::Reg exp_of(typename V::Reg x) {
  constexpr float kLog2E = 1.44269504f;
  x = V::min(V::set1(89.0f), V::max(V::set1(-87.0f), x));
  const auto n = V::round(V::mul(x, V::set1(kLog2E)));
  const auto r = V::fma(x, V::set1(kLog2E), V::sub(V::zero(), n));
  return V::mul(exp2_of<V>(r), V::scale_by_power(V::set1(1.0f), n));
}

// erf(|x|), absolute error 6e-7 and relative error 2e-6; exactly 1 from 3.8 on.
template <class V>
inline typename V::Reg erf_of_abs(typename V::Reg x) {
  constexpr float kSaturated = 3.8f;
  const auto u = V::min(V::set1(kSaturated), V::abs(x));
  const auto t = V::fma(V::mul(u, u), V::set1(1.38504162e-1f), V::set1(-1.0f));
  auto p = V::set1(-2.29872856e-3f);
  p = V::fma(p, t, V::set1(5.74713387e-3f));
  p = V::fma(p, t, V::set1(-4.49174270e-3f));
  p = V::fma(p, t, V::set1(5.57432044e-3f));
  p = V::fma(p, t, V::set1(-1.69657990e-2f));
  p = V::fma(p, t, V::set1(2.94901635e-2f));
  p = V::fma(p, t, V::set1(-3.96862514e-2f));
  p = V::fma(p, t, V::set1(5.41428030e-2f));
  p = V::fma(p, t, V::set1(-7.23193437e-2f));
  p = V::fma(p, t, V::set1(9.09740999e-2f));
  p = V::fma(p, t, V::set1(-1.11207388e-1f));
  p = V::fma(p, t, V::set1(1.37731358e-1f));
  p = V::fma(p, t, V::set1(-1.85640514e-1f));
  p = V::fma(p, t, V::set1(3.72107774e-1f));
  return V::min(V::set1(1.0f), V::mul(p, u));
}

// tanh x = sign(x) (1 - e) / (1 + e) with e = exp(-2 |x|), absolute error 3e-7.
template <class V>
inline typename V::Reg tanh_of(typename V::Reg x) {
  const auto e = exp_of<V>(V::mul(V::abs(x), V::set1(-2.0f)));
  const auto one = V::set1(1.0f);
  return V::copy_sign(V::div(V::sub(one, e), V::add(one, e)), x);
}

// 1 / (1 + exp(-x)), relative error 2e-6.
template <class V>
inline typename V::Reg sigmoid_of(typename V::Reg x) {
  const auto one = V::set1(1.0f);
  return V::div(one, V::add(one, exp_of<V>(V::sub(V::zero(), x))));
}

template <class V, Epilogue kEpilogue>
inline typename V::Reg activate(typename V::Reg x) {
  if constexpr (kEpilogue == Epilogue::kRelu) {
    return V::max(V::zero(), x);
  } else if constexpr (kEpilogue == Epilogue::kGelu) {
    // x/2 (1 + erf(x / sqrt 2)) = x/2 + |x|/2 erf(|x| / sqrt 2), as erf is odd.
    const auto half = V::mul(x, V::set1(0.5f));
    return V::fma(V::abs(half), erf_of_abs<V>(V::mul(x, V::set1(0.707106781f))), half);
  } else if constexpr (kEpilogue == Epilogue::kGeluTanh) {
    const auto cubic = V::fma(V::mul(x, x), V::set1(0.0356774081f), V::set1(0.797884561f));
    const auto half = V::mul(x, V::set1(0.5f));
    return V::fma(half, tanh_of<V>(V::mul(x, cubic)), half);
  } else if constexpr (kEpilogue == Epilogue::kSilu) {
    return V::mul(x, sigmoid_of<V>(x));
  } else if constexpr (kEpilogue == Epilogue::kTanh) {
    return tanh_of<V>(x);
  } else {
    return x;
  }
}

}  // namespace
}  // namespace millrace::cpu
