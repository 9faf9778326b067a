// What the host hands to the row-wise kernels of decoders. Read by NVRTC too: see kernel_args.h.
#pragma once

#include "kernel_args.h"

namespace millrace::cuda {

// x[r] += scale * delta_norm(delta[r]) in place, where there is a delta; out[r] = norm(x[r]).
struct RmsNormArgs {
  Rows x;  // [rows, width]
  Rows delta;
  RmsArgs delta_norm;
  float scale = 1;
  RmsArgs norm;
  Rows out;  // overlaps no input
  int rows = 0;
  int width = 0;
};

// out[r] = scale * table[i], i = indices[r]; where that is ~s, i = sampled[s], or 0 where nothing
// was drawn.
struct GatherRowsArgs {
  Rows table;                    // [*, width]
  const int* indices = nullptr;  // [rows]
  const int* sampled = nullptr;  // null where no index is negative
  float scale = 1;
  Rows out;  // [rows, width]
  int rows = 0;
  int width = 0;
};

// out[r][c] = f(x[r][c]) * x[r][width + c].
struct ActAndMulArgs {
  Rows x;    // [rows, 2 * width]
  Rows out;  // [rows, width]
  int rows = 0;
  int width = 0;
};

// x = cap(scale * x) in place; cap(x) = c tanh(x / c) where soft_cap is c > 0.
struct ScaleAndCapArgs {
  Rows x;  // [rows, width] float
  float scale = 1;
  float soft_cap = 0;
  int rows = 0;
  int width = 0;
};

inline constexpr int kMaxRopePairs = 256;

// out[r] = scale * (the cosines, then the sines) of positions[r] * inverse_frequencies.
struct RopeAnglesArgs {
  Rows out;                        // [rows, 2 * num_pairs] float
  const int* positions = nullptr;  // [rows]
  int rows = 0;
  int num_pairs = 0;
  float scale = 1;
  float inverse_frequencies[kMaxRopePairs] = {};
};

}  // namespace millrace::cuda
