// Rotary positions and the way of keys and values into their blocks, with the norms of heads that
// some models have before them.
//
// A warp takes one head of one token: queries stay where they are, keys and values go to the slot
// of the token. Lane l holds the pairs l, l + 32, ... of the head: those that are rotated first,
// and behind them the rest by twos, which are only copied.
//
// Launch: grid (ceil((num_heads + 2 * num_kv_heads) / kRopeWarps), tokens), block 32 * kRopeWarps,
// no dynamic shared bytes. head_dim <= kMaxRopeHead.
#pragma once

#include "kernel_args.h"
#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kRopeWarps = 4;
inline constexpr int kMaxRopeHead = 256;

template <class T>
__global__ void __launch_bounds__(32 * kRopeWarps)
    smxx_rope_write(const __grid_constant__ RopeWriteArgs args) {
  constexpr int kPairs = kMaxRopeHead / 64;  // of a lane
  const int head = static_cast<int>(blockIdx.y) * kRopeWarps + static_cast<int>(threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  const long long token = blockIdx.x;
  const int num_keys = args.num_heads + args.num_kv_heads;
  if (head >= num_keys + args.num_kv_heads) return;
  const bool is_query = head < args.num_heads;
  const bool is_value = head >= num_keys;
  const int slot = args.slots[token];
  if (!is_query && slot < 0) return;

  T* row = static_cast<T*>(args.qkv.data) + token * args.qkv.stride +
           static_cast<long long>(head) * args.head_dim;
  T* to = row;
  if (!is_query) {
    const int kv_head = head - (is_value ? num_keys : args.num_heads);
    const long long block = slot / args.block_size;
    to = static_cast<T*>(is_value ? args.values : args.keys) +
         ((block * args.num_kv_heads + kv_head) * args.block_size + slot % args.block_size) *
             args.head_dim;
  }

  const int half = is_value ? 0 : args.rotary_dim / 2;
  // Of pair p: its elements.
  const auto first_of = [&](int p) {
    if (p >= half) return 2 * p;  // half pairs are 2 * half elements
    return args.interleaved ? 2 * p : p;
  };
  const auto second_of = [&](int p) {
    if (p >= half) return 2 * p + 1;
    return args.interleaved ? 2 * p + 1 : p + half;
  };
  float x[kPairs][2];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int p = lane + 32 * i;
    const int a = first_of(p);
    const int b = second_of(p);
    x[i][0] = a < args.head_dim ? to_float(row[a]) : 0.0f;
    x[i][1] = b < args.head_dim ? to_float(row[b]) : 0.0f;
    squares += x[i][0] * x[i][0] + x[i][1] * x[i][1];
  }

  const RmsArgs& norm = is_query ? args.q_norm : args.k_norm;
  if (!is_value && norm.gamma != nullptr) {
    const T* gamma = static_cast<const T*>(norm.gamma);
    const float mean = warp_sum(squares) / static_cast<float>(args.head_dim);
    const float inverse = 1.0f / sqrtf(mean + norm.eps);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int p = lane + 32 * i;
      const int a = first_of(p);
      const int b = second_of(p);
      if (a < args.head_dim) x[i][0] *= inverse * (to_float(gamma[a]) + norm.offset);
      if (b < args.head_dim) x[i][1] *= inverse * (to_float(gamma[b]) + norm.offset);
    }
  }

  const float* cosines = static_cast<const float*>(args.angles.data) + token * args.angles.stride;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int p = lane + 32 * i;
    const int a = first_of(p);
    const int b = second_of(p);
    float y[2] = {x[i][0], x[i][1]};
    if (p < half) {
      const float cosine = cosines[p];
      const float sine = cosines[half + p];
      y[0] = x[i][0] * cosine - x[i][1] * sine;
      y[1] = x[i][1] * cosine + x[i][0] * sine;
    }
    if (a < args.head_dim) to[a] = from_float<T>(y[0]);
    if (b < args.head_dim) to[b] = from_float<T>(y[1]);
  }
}

}  // namespace millrace::cuda
