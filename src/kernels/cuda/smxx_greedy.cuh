// The most likely token of rows that ask for nothing else: the first of the greatest logits, -1
// where none is finite. Several blocks share a row; the last to arrive compares what they found.
//
// Launch: grid (ceil(vocab / kGreedyPart), rows), block kGreedyThreads, no dynamic shared bytes.
#pragma once

#include "sampling_args.h"
#include "sampling_block.cuh"

namespace millrace::cuda {

inline constexpr int kGreedyThreads = 256;
inline constexpr int kGreedyVectors = 8;  // of four logits that a thread reads
inline constexpr int kGreedyPart = kGreedyThreads * kGreedyVectors * 4;

__device__ inline void take_greater(Candidate& best, float value, int token) {
  if (value > best.value) best = {value, token};  // tokens come in ascending order
}

__device__ inline Candidate greatest_of_part(const float* logits, int begin, int end) {
  Candidate best = Candidate::none();
  if (is_aligned(logits) && end - begin == kGreedyPart) {
    float x[kGreedyVectors][4];
#pragma unroll
    for (int v = 0; v < kGreedyVectors; ++v)
      load_vector(logits + begin + (v * kGreedyThreads + threadIdx.x) * 4, x[v]);
#pragma unroll
    for (int v = 0; v < kGreedyVectors; ++v)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        take_greater(best, x[v][e], begin + (v * kGreedyThreads + threadIdx.x) * 4 + e);
  } else {
#pragma unroll 8
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kGreedyThreads)
      take_greater(best, logits[i], i);
  }
  return best;
}

__global__ void __launch_bounds__(kGreedyThreads)
    smxx_greedy(const __grid_constant__ GreedyArgs args) {
  __shared__ Candidate found[kGreedyThreads / 32];
  __shared__ bool is_last;
  const SampleRow& row = args.rows[blockIdx.y];
  const auto* first = static_cast<const float*>(args.logits.data);
  const float* logits = first + static_cast<long long>(row.logits_row) * args.logits.stride;
  const int begin = blockIdx.x * kGreedyPart;
  const Candidate best =
      warp_max(greatest_of_part(logits, begin, min(begin + kGreedyPart, args.vocab)));
  if (lane_index() == 0) found[warp_index()] = best;
  __syncthreads();
  if (warp_index() > 0) return;

  const auto compare = [&](Candidate candidate) { return warp_max(candidate); };
  const Candidate part =
      compare(lane_index() < kGreedyThreads / 32 ? found[lane_index()] : Candidate::none());
  GreedyPart* parts = args.parts + static_cast<long long>(blockIdx.y) * gridDim.x;
  if (lane_index() == 0) {
    parts[blockIdx.x] = {part.value, part.token};
    __threadfence();
    is_last = atomicInc(&args.arrivals[blockIdx.y], gridDim.x - 1) == gridDim.x - 1;
    __threadfence();
  }
  __syncwarp();
  if (!is_last) return;
  Candidate greatest = Candidate::none();
  for (int i = lane_index(); i < gridDim.x; i += 32) {
    const volatile GreedyPart* other = &parts[i];
    const Candidate candidate = {other->value, other->token};
    if (candidate > greatest) greatest = candidate;
  }
  greatest = compare(greatest);
  const bool is_finite = (__float_as_uint(greatest.value) & 0x7f800000u) != 0x7f800000u;
  if (lane_index() == 0) args.tokens[row.out] = is_finite ? greatest.token : -1;
}

}  // namespace millrace::cuda
