// What the threads of a block that samples a row do together: reductions in a fixed order, and
// passes over groups of eight tokens.
//
// Results depend on the number of tokens and their values alone, never on which block comes first.
#pragma once

#include "numbers.cuh"

namespace millrace::cuda {

inline constexpr int kSampleWarps = 32;
inline constexpr int kSampleThreads = 32 * kSampleWarps;
inline constexpr int kGroup = 8;            // tokens that a lane takes at once
inline constexpr int kChunk = 32 * kGroup;  // tokens that a warp takes at once
inline constexpr int kMaxChunks = 1056;     // of a row: 270336 tokens

__device__ inline float negative_infinity() {
  return __uint_as_float(0xff800000u);
}

__device__ inline int warp_index() {
  return threadIdx.x / 32;
}
__device__ inline int lane_index() {
  return threadIdx.x % 32;
}

// A token and its value; none is greater than all others.
struct Candidate {
  float value;
  int token;

  static __device__ Candidate none() { return {negative_infinity(), 0x7fffffff}; }
  // Of equal values the first token is the greater one.
  __device__ bool operator>(const Candidate& other) const {
    return value > other.value || (value == other.value && token < other.token);
  }
};

__device__ inline Candidate warp_max(Candidate best) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const Candidate other = {__shfl_xor_sync(~0u, best.value, lanes),
                             __shfl_xor_sync(~0u, best.token, lanes)};
    if (other > best) best = other;
  }
  return best;
}

// Of any struct that adds up, in the order of the threads' tree. Every thread gets the result.
template <class T, class Combine>
__device__ inline T block_combine(T value, T (&slots)[kSampleWarps], const Combine& combine) {
  value = combine(value);
  __syncthreads();  // the slots were read
  if (lane_index() == 0) slots[warp_index()] = value;
  __syncthreads();
  return combine(slots[lane_index()]);
}

__device__ inline Candidate block_max(Candidate best) {
  __shared__ Candidate slots[kSampleWarps];
  return block_combine(best, slots, [](Candidate c) { return warp_max(c); });
}

__device__ inline double block_sum(double x) {
  __shared__ double slots[kSampleWarps];
  return block_combine(x, slots, [](double y) {
#pragma unroll
    for (int lanes = 16; lanes > 0; lanes /= 2) y += __shfl_xor_sync(~0u, y, lanes);
    return y;
  });
}

__device__ inline int block_sum(int x) {
  __shared__ int slots[kSampleWarps];
  return block_combine(x, slots,
                       [](int y) { return static_cast<int>(__reduce_add_sync(~0u, unsigned(y))); });
}

// The sum over the lanes up to this one.
template <class T>
__device__ inline T warp_scan(T x) {
#pragma unroll
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const T before = __shfl_up_sync(~0u, x, lanes);
    if (lane_index() >= lanes) x += before;
  }
  return x;
}

// The sum over the threads before this one.
__device__ inline int block_scan_before(int x) {
  __shared__ int slots[kSampleWarps];
  const int scan = warp_scan(x);
  __syncthreads();
  if (lane_index() == 31) slots[warp_index()] = scan;
  __syncthreads();
  const int warps = warp_scan(slots[lane_index()]);
  const int before = __shfl_sync(~0u, warps, max(warp_index() - 1, 0));
  return scan - x + (warp_index() > 0 ? before : 0);
}

// Calls body(chunk, first, values) for each group of the source: token index `first` and the seven
// behind it. All lanes of a warp come together.
template <class Source, class Body>
__device__ inline void for_each_group(const Source& source, const Body& body) {
  const int chunks = (source.size() + kChunk - 1) / kChunk;
#pragma unroll 1
  for (int chunk = warp_index(); chunk < chunks; chunk += kSampleWarps) {
    const int first = chunk * kChunk + lane_index() * kGroup;
    float values[kGroup];
    source.load(first, values);
    body(chunk, first, values);
  }
}

}  // namespace millrace::cuda
