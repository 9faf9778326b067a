// The functions of activations, of one value.
#pragma once

namespace millrace::cuda {

// kFunction: 0 none, 1 gelu, 2 gelu by tanh, 3 relu, 4 silu, 5 tanh.
template <int kFunction>
__device__ inline float activate(float x) {
  static_assert(kFunction >= 0 && kFunction <= 5);
  if constexpr (kFunction == 1) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  if constexpr (kFunction == 2) {
    const float inner = 0.79788456080286536f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.0f + tanhf(inner));
  }
  if constexpr (kFunction == 3) return x < 0.0f ? 0.0f : x;  // NaN stays
  if constexpr (kFunction == 4) return x / (1.0f + expf(-x));
  if constexpr (kFunction == 5) return tanhf(x);
  return x;
}

}  // namespace millrace::cuda
