// Cosines and sines of rotary positions.
//
// Launch: grid rows, block a multiple of 32 up to kMaxRopePairs that holds the pairs, no dynamic
// shared bytes. The angle is a product in float, as models were trained with; its cosine is taken
// in double, so that far positions are as exact as near ones.
#pragma once

#include "decoder_row_args.h"

namespace millrace::cuda {

// Of |x| <= pi / 4, by their Taylor series: errors are below 1e-13.
__device__ inline double near_sine(double x) {
  const double x2 = x * x;
  double p = 1.0 / 6227020800.0;
  p = fma(p, x2, -1.0 / 39916800.0);
  p = fma(p, x2, 1.0 / 362880.0);
  p = fma(p, x2, -1.0 / 5040.0);
  p = fma(p, x2, 1.0 / 120.0);
  p = fma(p, x2, -1.0 / 6.0);
  return fma(p * x2, x, x);
}
__device__ inline double near_cosine(double x) {
  const double x2 = x * x;
  double p = -1.0 / 87178291200.0;
  p = fma(p, x2, 1.0 / 479001600.0);
  p = fma(p, x2, -1.0 / 3628800.0);
  p = fma(p, x2, 1.0 / 40320.0);
  p = fma(p, x2, -1.0 / 720.0);
  p = fma(p, x2, 1.0 / 24.0);
  p = fma(p, x2, -0.5);
  return fma(p, x2, 1.0);
}

__global__ void __launch_bounds__(kMaxRopePairs)
    smxx_rope_angles(const __grid_constant__ RopeAnglesArgs args) {
  const int pair = threadIdx.x;
  if (pair >= args.num_pairs) return;
  const long long row = blockIdx.x;
  const float position = static_cast<float>(args.positions[row]);
  const double angle = static_cast<double>(__fmul_rn(position, args.inverse_frequencies[pair]));
  // The quadrant, and what is left of the angle: pi / 2 in two parts.
  const double quadrant = rint(angle * 0.63661977236758134308);
  double rest = fma(quadrant, -1.57079632679489655800, angle);
  rest = fma(quadrant, -6.12323399573676603587e-17, rest);
  const int quarter = static_cast<int>(static_cast<long long>(quadrant) & 3);
  const double sine = near_sine(rest);
  const double cosine = near_cosine(rest);
  const bool swap = quarter % 2 == 1;
  const float s = static_cast<float>(swap ? cosine : sine);
  const float c = static_cast<float>(swap ? sine : cosine);
  float* out = static_cast<float*>(args.out.data) + row * args.out.stride + pair;
  out[0] = __fmul_rn(quarter == 1 || quarter == 2 ? -c : c, args.scale);
  out[args.num_pairs] = __fmul_rn(quarter >= 2 ? -s : s, args.scale);
}

}  // namespace millrace::cuda
