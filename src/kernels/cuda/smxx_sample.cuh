// Draws a token for one row of logits, and tells its logprobs: one block a row.
//
// Launch: grid rows, block kSampleThreads, dynamic shared bytes as SampleMemory lays them out: two
// bitmaps of the vocabulary, [chunks * kChunk / 32] words each, [chunks] ints, and list_capacity
// weights and tokens, where chunks is ceil(vocab / kChunk), at most kMaxChunks. A typical row is
// read three times: for its greatest logit, for the histogram of weights, and for the candidates
// that the cut lies among; where those do not fit into the list, all that follows reads the row
// instead.
#pragma once

#include "philox.cuh"
#include "sampling_cut.cuh"

namespace millrace::cuda {

// The greatest logits, of the row as the request wants it and as it came.
struct Greatest {
  Candidate wanted;
  float plain;
};

__device__ inline Greatest greatest_of(const LogitsRow& row) {
  Candidate best = Candidate::none();
  float plain_best = negative_infinity();
  const int chunks = SampleMemory::chunks(row.vocab);
#pragma unroll 1
  for (int chunk = warp_index(); chunk < chunks; chunk += kSampleWarps) {
    const int first = chunk * kChunk + lane_index() * kGroup;
    float x[kGroup];
    row.load_plain(first, x);
#pragma unroll
    for (int e = 0; e < kGroup; ++e) plain_best = x[e] > plain_best ? x[e] : plain_best;
    row.adjust(first, x);
#pragma unroll
    for (int e = 0; e < kGroup; ++e)
      if (x[e] > best.value) best = {x[e], first + e};
  }
  return {block_max(best), block_max({plain_best, 0}).value};
}

__device__ inline bool is_finite(float x) {
  return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u;
}

// The logarithm of the sum of all weights, and the tokens above a logit.
struct RowStats {
  float log_sum;
  int num_greater;
};

__device__ inline RowStats stats_of(const Weights& weights, float logit) {
  float sum = 0;
  int num_greater = 0;
  for_each_group(weights.row, [&](int, int, const float(&x)[kGroup]) {
    float part = 0;
#pragma unroll
    for (int e = 0; e < kGroup; ++e) {
      num_greater += x[e] > logit ? 1 : 0;
      part += weights.weight_of(x[e]);
    }
    sum += part;
  });
  return {logf(static_cast<float>(block_sum(static_cast<double>(sum)))), block_sum(num_greater)};
}

// Of a logit of the row whose greatest is weights.max.
__device__ inline float logprob_of(const Weights& weights, float log_sum, float logit) {
  return static_cast<float>(static_cast<double>(logit) - weights.max - log_sum);
}

// The greatest logit that comes after `previous`.
__device__ inline Candidate next_of(const Weights& weights, const Candidate& previous) {
  Candidate best = Candidate::none();
  const auto look_at = [&](const Candidate& candidate) {
    if (previous > candidate && candidate > best) best = candidate;
  };
  if (weights.in_list()) {
#pragma unroll 1
    for (int i = threadIdx.x; i < weights.list_count; i += kSampleThreads)
      look_at({weights.row.logits[weights.token(i)], weights.token(i)});
  } else {
    for_each_group(weights.row, [&](int, int first, const float(&x)[kGroup]) {
#pragma unroll
      for (int e = 0; e < kGroup; ++e)
        if (first + e < weights.row.vocab) look_at({x[e], first + e});
    });
  }
  return block_max(best);
}

__device__ inline void tell_top(const SampleResults& results, int out, int num_top,
                                const Weights& weights, float log_sum) {
  Candidate last = {__uint_as_float(0x7f800000u), -1};  // greater than all
#pragma unroll 1
  for (int i = 0; i < num_top; ++i) {
    last = next_of(weights, last);
    if (threadIdx.x != 0) continue;
    const long long at = static_cast<long long>(out) * results.top_stride + i;
    results.top_tokens[at] = last.token < weights.row.vocab ? last.token : -1;  // the rest are NaN
    results.top_logprobs[at] = logprob_of(weights, log_sum, last.value);
  }
}

// What the tokens of a row go through, one after the other.
enum Phase { kTopK, kTopP, kDraw, kPhases };

__global__ void __launch_bounds__(kSampleThreads, 1)
    smxx_sample(const __grid_constant__ SampleArgs args) {
  constexpr float kGreedyTemperature = 1e-5f;
  __shared__ union {
    Histogram histogram;
    float sums[kMaxChunks];
  } shared;
  const SampleRow& row = args.rows[blockIdx.x];
  Weights weights{.row = adjusted_row(args, row), .list_capacity = args.list_capacity};
  const Greatest greatest = greatest_of(weights.row);
  int token = row.given_token;
  bool draws = false;
  if (token < 0 && is_finite(greatest.wanted.value)) {
    draws = row.temperature >= kGreedyTemperature;
    if (!draws) token = greatest.wanted.token;
  }
  weights.max = greatest.wanted.value;
  weights.scale = __fdiv_rn(1.0f, row.temperature);

  // min_p, then top_k, then top_p of what those keep; at last the most likely of all tokens.
  Cut cut = {.weight = row.min_p};
  int num_equal = 0;
  float log_sum = 0;
#pragma unroll 1
  for (int phase = kTopK; phase < kPhases; ++phase) {
    if (phase == kDraw) {
#pragma unroll 1
      for (bool drawn = !draws; !drawn;) {
        const int place = locate(shared.sums, weights, cut, num_equal,
                                 [&] { return philox_uniform(row.seed, row.position); });
        drawn = num_equal == 0;
        if (drawn)
          token = place < 0 ? -1 : weights.token(place);
        else
          cut.last = place;
        num_equal = 0;
      }
      if (threadIdx.x == 0) args.results.tokens[row.out] = token;
      if (token < 0 || row.num_top < 0) return;
      weights.row = weights.row.plain();
      weights.max = greatest.plain;
      weights.scale = 1;
      weights.list_count = -1;
      const float logit = weights.row.logits[token];
      const RowStats stats = stats_of(weights, logit);
      log_sum = stats.log_sum;
      if (threadIdx.x == 0) {
        args.results.logprobs[row.out] = logprob_of(weights, log_sum, logit);
        args.results.ranks[row.out] = 1 + stats.num_greater;
      }
    }
    const bool is_wanted = phase == kTopK   ? draws && row.top_k > 0 && row.top_k < args.vocab
                           : phase == kTopP ? draws && row.top_p < 1
                                            : row.num_top > 0;
    if (!is_wanted) continue;
    const double goal = phase == kTopK   ? static_cast<double>(row.top_k)
                        : phase == kTopP ? static_cast<double>(row.top_p)
                                         : static_cast<double>(row.num_top);
    cut = select(shared.histogram, weights, phase == kDraw ? 0.0f : cut.weight, goal,
                 phase == kTopP, phase == kDraw, num_equal);
  }
  tell_top(args.results, row.out, min(row.num_top, args.vocab), weights, log_sum);
}

}  // namespace millrace::cuda
