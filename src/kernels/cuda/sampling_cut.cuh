// Which tokens top_k and top_p keep, without a sort: the digits of the least weight that is kept
// are found one after the other, each by a histogram. Counts and masses of a histogram are sums of
// integers, so they are exact, and the same whatever the order of the threads.
#pragma once

#include "sampling_row.cuh"

namespace millrace::cuda {

// e^x for x <= 0, relative error 3e-7; 0 below -87, and for NaN.
__device__ inline float exp_of_negative(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLog2ERest = 1.92596299e-8f;
  const float y = __fmul_rn(x, kLog2E);
  const float rest = fmaf(x, kLog2ERest, fmaf(x, kLog2E, -y));  // that the product was rounded by
  float e;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(y));
  e = fmaf(e, 0.69314718f * rest, e);
  return x > -87.0f ? e : 0.0f;
}

// e^((logit - max) / temperature) of the tokens of a row, from 0 to 1. Once candidates were
// collected, of those alone: a list in shared memory, in the order of the tokens.
struct Weights {
  LogitsRow row;
  float max = 0;
  float scale = 1;
  int list_capacity = 0;  // a multiple of kChunk
  int list_count = -1;    // less than 0: the row

  __device__ bool in_list() const { return list_count >= 0; }
  __device__ int size() const { return in_list() ? list_count : row.vocab; }
  __device__ int token(int index) const { return in_list() ? list_tokens()[index] : index; }

  // Zeros fill the last chunk.
  __device__ float* list_weights() const { return SampleMemory::list_weights(row.vocab); }
  __device__ int* list_tokens() const {
    return SampleMemory::list_tokens(row.vocab, list_capacity);
  }

  __device__ float weight_of(float logit) const {
    return exp_of_negative(__fmul_rn(__fsub_rn(logit, max), scale));
  }

  __device__ void load(int first, float (&x)[kGroup]) const {
    if (in_list()) {
      float low[4], high[4];
      load_vector(list_weights() + first, low);
      load_vector(list_weights() + first + 4, high);
#pragma unroll
      for (int e = 0; e < 4; ++e) x[e] = low[e], x[e + 4] = high[e];
    } else {
      row.load(first, x);  // -infinity behind the row
#pragma unroll
      for (int e = 0; e < kGroup; ++e) x[e] = weight_of(x[e]);
    }
  }
};

// Tokens above a weight, and those of that weight up to a place in the source.
struct Cut {
  float weight = 0;
  int last = 0x7fffffff;

  __device__ bool keeps(float w, int index) const {
    return w > weight || (w == weight && w > 0 && index <= last);
  }
};

// --- a digit -------------------------------------------------------------------------------------

inline constexpr int kBuckets = 1024;  // ten bits
inline constexpr int kLevels = 3;      // a weight from 0 to 1 has thirty

struct Histogram {
  unsigned counts[kBuckets];
  unsigned low_sums[kBuckets];   // of the ten bits below the digit and those below them
  unsigned high_sums[kBuckets];  // of the ten bits below the digit of the first level
};

// What was found of a threshold: its first digits, and what remains of the goal within them.
struct Found {
  unsigned digits = 0;
  int reached = 0;    // no: all tokens together are less than the goal
  int num_above = 0;  // tokens with greater digits
  int num_within = 0;
  double rest = 0;
};

__device__ inline int shift_of(int level) {
  return 20 - 10 * level;
}

// The weights of a bucket together: each is the bucket's first one plus so many of its ulps.
__device__ inline double mass_of(const Histogram& histogram, int level, unsigned digits,
                                 int bucket) {
  const unsigned count = histogram.counts[bucket];
  if (count == 0) return 0;
  const unsigned first = (digits << 10 | static_cast<unsigned>(bucket)) << shift_of(level);
  const double ulp = static_cast<double>(__uint_as_float(first & 0x7f800000u)) * 0x1p-23;
  double ulps = level < 2 ? static_cast<double>(histogram.low_sums[bucket]) : 0.0;
  if (level == 0) ulps += static_cast<double>(histogram.high_sums[bucket]) * 1024.0;
  return static_cast<double>(__uint_as_float(first)) * count + ulps * ulp;
}

// Adds one weight of each lane.
__device__ inline void add_to(Histogram& histogram, bool counts, unsigned bits, int level,
                              bool by_mass) {
  const unsigned lanes = __ballot_sync(~0u, counts);
  if (lanes == 0) return;
  const unsigned bucket = bits >> shift_of(level) & (kBuckets - 1);
  const unsigned low = level < 2 ? bits & 1023 : 0;
  const unsigned high = level == 0 ? bits >> 10 & 1023 : 0;
  // Equal weights would wait for each other.
  const int leader = __ffs(static_cast<int>(lanes)) - 1;
  const unsigned first_bucket = __shfl_sync(~0u, bucket, leader);
  if (__all_sync(~0u, !counts || bucket == first_bucket)) {
    const unsigned lows = __reduce_add_sync(~0u, counts ? low : 0);
    const unsigned highs = __reduce_add_sync(~0u, counts ? high : 0);
    if (lane_index() != leader) return;
    atomicAdd(&histogram.counts[bucket], static_cast<unsigned>(__popc(lanes)));
    if (by_mass && level < 2) atomicAdd(&histogram.low_sums[bucket], lows);
    if (by_mass && level == 0) atomicAdd(&histogram.high_sums[bucket], highs);
  } else if (counts) {
    atomicAdd(&histogram.counts[bucket], 1u);
    if (by_mass && level < 2) atomicAdd(&histogram.low_sums[bucket], low);
    if (by_mass && level == 0) atomicAdd(&histogram.high_sums[bucket], high);
  }
}

// The histogram of a digit, of weights from `least` on that begin with `digits`; gives the sum of
// all weights from `least_summed` on where `by_mass` and this is the first level.
__device__ inline double fill(Histogram& histogram, const Weights& source, float least,
                              float least_summed, unsigned digits, int level, bool by_mass) {
  __syncthreads();
  for (int b = threadIdx.x; b < kBuckets; b += kSampleThreads)
    histogram.counts[b] = histogram.low_sums[b] = histogram.high_sums[b] = 0;
  __syncthreads();
  float sum = 0;  // of this thread: of a few hundred weights
  for_each_group(source, [&](int, int, const float(&w)[kGroup]) {
    float part = 0;
#pragma unroll
    for (int e = 0; e < kGroup; ++e) {
      const unsigned bits = __float_as_uint(w[e]);
      const bool begins = level == 0 || bits >> (shift_of(level) + 10) == digits;
      add_to(histogram, w[e] >= least && w[e] > 0 && begins, bits, level, by_mass);
      part += w[e] >= least_summed ? w[e] : 0.0f;
    }
    sum += part;
  });
  __syncthreads();
  return by_mass && level == 0 ? block_sum(static_cast<double>(sum)) : 0.0;
}

// The bucket in which the greatest tokens reach the goal. Lane l of the first warp looks after the
// buckets 1023 - 32 l and the 31 below.
// `found` is shared memory.
__device__ inline void search(const Histogram& histogram, int level, unsigned digits, double goal,
                              bool by_mass, Found& found) {
  if (threadIdx.x == 0) found.reached = 0;
  __syncthreads();
  if (warp_index() == 0) {
    const auto amount = [&](int bucket) {
      return by_mass ? mass_of(histogram, level, digits, bucket)
                     : static_cast<double>(histogram.counts[bucket]);
    };
    const int top = kBuckets - 1 - 32 * lane_index();
    double own = 0;
    int count = 0;
#pragma unroll 1
    for (int i = 0; i < 32; ++i) {
      own += amount(top - i);
      count += static_cast<int>(histogram.counts[top - i]);
    }
    const double sum = warp_scan(own);
    int above = warp_scan(count) - count;
    const unsigned reaching = __ballot_sync(~0u, sum >= goal && count > 0);
    if (reaching != 0 && lane_index() == __ffs(static_cast<int>(reaching)) - 1) {
      double rest = goal - (sum - own);
      int bucket = -1;  // of the last that had tokens: roundings may leave a rest
#pragma unroll 1
      for (int i = 0; i < 32; ++i) {
        const int b = top - i;
        const int within = static_cast<int>(histogram.counts[b]);
        if (within == 0) continue;
        if (bucket >= 0) {
          rest -= amount(bucket);
          above += static_cast<int>(histogram.counts[bucket]);
        }
        bucket = b;
        if (amount(b) >= rest) break;
      }
      found = {.digits = digits << 10 | static_cast<unsigned>(bucket),
               .reached = 1,
               .num_above = above,
               .num_within = static_cast<int>(histogram.counts[bucket]),
               .rest = rest};
    }
  }
  __syncthreads();
}

// --- a place -------------------------------------------------------------------------------------

// Of the lanes that have something the first that passes, or else the last; -1 where none has.
__device__ inline int first_of(bool has_value, bool passes) {
  const unsigned having = __ballot_sync(~0u, has_value);
  const unsigned passing = __ballot_sync(~0u, has_value && passes);
  return passing != 0 ? __ffs(static_cast<int>(passing)) - 1 : 31 - __clz(static_cast<int>(having));
}

// The first place of the source at which the kept weights, summed in order, pass a share of their
// sum, which share() tells; or, where `num_equal` is not 0, of the weights that equal the cut's the
// last of so many. The last place with a value where roundings prevent it; -1 where there is none.
// `sums` [kMaxChunks] is shared memory.
template <class Share>
__device__ int locate(float* sums, const Weights& source, const Cut& cut, int num_equal,
                      const Share& share) {
  __shared__ int place;
  const auto value = [&](float w, int index) {
    if (num_equal > 0) return w == cut.weight ? 1.0f : 0.0f;
    return cut.keeps(w, index) ? w : 0.0f;
  };
  __syncthreads();
  if (threadIdx.x == 0) place = -1;
  for_each_group(source, [&](int chunk, int first, const float(&w)[kGroup]) {
    float sum = 0;
#pragma unroll
    for (int e = 0; e < kGroup; ++e) sum += value(w[e], first + e);
    sum = warp_sum(sum);
    if (lane_index() == 0) sums[chunk] = sum;
  });
  __syncthreads();
  if (warp_index() == 0) {
    const int chunks = SampleMemory::chunks(source.size());
    const int each = (chunks + 31) / 32;
    const int begin = min(lane_index() * each, chunks);
    const int end = min(begin + each, chunks);
    double own = 0;
#pragma unroll 1
    for (int c = begin; c < end; ++c) own += sums[c];
    double rest = warp_scan(own);
    const double goal = num_equal > 0 ? num_equal - 0.5 : share() * __shfl_sync(~0u, rest, 31);
    const int lane = first_of(own > 0, rest > goal);
    if (lane >= 0) {
      int chunk = -1;
      rest = goal - (rest - own);
      if (lane_index() == lane) {
#pragma unroll 1
        for (int c = begin; c < end; ++c) {
          if (sums[c] == 0) continue;
          if (chunk >= 0) rest -= sums[chunk];
          chunk = c;
          if (sums[c] > rest) break;
        }
      }
      chunk = __shfl_sync(~0u, chunk, lane);
      float left = __shfl_sync(~0u, static_cast<float>(rest), lane);
      // The same within the chunk.
      const int first = chunk * kChunk + lane_index() * kGroup;
      float w[kGroup];
      source.load(first, w);
      float within = 0;
#pragma unroll
      for (int e = 0; e < kGroup; ++e) {
        w[e] = value(w[e], first + e);
        within += w[e];
      }
      const float scan = warp_scan(within);
      if (lane_index() == first_of(within > 0, scan > left)) {
        left -= scan - within;
        bool passed = false;
#pragma unroll
        for (int e = 0; e < kGroup; ++e) {
          if (passed || w[e] == 0) continue;
          place = first + e;
          passed = w[e] > left;
          left -= w[e];
        }
      }
    }
  }
  __syncthreads();
  return place;
}

// --- the cut -------------------------------------------------------------------------------------

struct CutShared {
  union {
    Histogram histogram;
    float sums[kMaxChunks];
  };
};

// Leaves the tokens of the row whose weight is at least `least` and begins with a digit from
// `digit` on.
__device__ inline void collect(Weights& weights, float least, unsigned digit) {
  unsigned* marks = SampleMemory::marks(weights.row.vocab);
  __syncthreads();
  auto* bytes = reinterpret_cast<unsigned char*>(marks);
  for_each_group(weights, [&](int, int first, const float(&w)[kGroup]) {
    unsigned bits = 0;
#pragma unroll
    for (int e = 0; e < kGroup; ++e) {
      const bool is_in = w[e] > 0 && w[e] >= least && __float_as_uint(w[e]) >> shift_of(0) >= digit;
      bits |= is_in ? 1u << e : 0u;
    }
    bytes[first / kGroup] = static_cast<unsigned char>(bits);
  });
  __syncthreads();
  const int words = SampleMemory::bitmap_words(weights.row.vocab);
  const int each = (words + kSampleThreads - 1) / kSampleThreads;
  const int begin = min(static_cast<int>(threadIdx.x) * each, words);
  const int end = min(begin + each, words);
  int count = 0;
#pragma unroll 1
  for (int word = begin; word < end; ++word) count += __popc(marks[word]);
  int place = block_scan_before(count);
#pragma unroll 1
  for (int word = begin; word < end; ++word) {
#pragma unroll 1
    for (unsigned bits = marks[word]; bits != 0; bits &= bits - 1) {
      const int token = word * 32 + __ffs(static_cast<int>(bits)) - 1;
      weights.list_tokens()[place] = token;
      weights.list_weights()[place++] = weights.weight_of(weights.row.at(token));
    }
  }
  weights.list_count = block_sum(count);
  const int filled = (weights.list_count + kChunk - 1) / kChunk * kChunk;
  for (int i = weights.list_count + static_cast<int>(threadIdx.x); i < filled; i += kSampleThreads)
    weights.list_weights()[i] = 0;
  __syncthreads();
}

// Weights below this one are seldom asked for: they are counted once the others do not suffice.
inline constexpr float kUsualWeight = 0x1p-20f;

// Of the tokens from `least` on, the greatest that reach the goal: a count, or a share of the mass.
// By count, tokens equal to the last one stay too; by mass, the first of them do: `num_equal` says
// how many (0: all). The source may become a list of the tokens among which the cut lies and all
// above; `first_digit`: that is all that is wanted.
__device__ inline Cut select(Histogram& histogram, Weights& source, float least, double goal,
                             bool by_mass, bool first_digit, int& num_equal) {
  __shared__ Found found;  // written in search() alone, between barriers
  unsigned digits = 0;
  float from = fmaxf(least, kUsualWeight);
  bool is_share = by_mass;
#pragma unroll 1
  for (int level = 0; level < kLevels;) {
    const double mass =
        fill(histogram, source, level == 0 ? from : least, least, digits, level, by_mass);
    if (is_share) goal *= mass;
    is_share = false;
    search(histogram, level, digits, goal, by_mass, found);
    if (found.reached == 0) {
      if (level > 0 || from == least) return {.weight = least};
      from = least;
      continue;
    }
    if (level == 0 && !source.in_list() &&
        found.num_above + found.num_within <= source.list_capacity)
      collect(source, least, found.digits);
    if (first_digit) break;
    goal = found.rest;
    digits = found.digits;
    ++level;
  }
  const Cut cut = {.weight = __uint_as_float(found.digits)};
  if (by_mass) {
    const double needed = ceil(found.rest / static_cast<double>(cut.weight));
    num_equal = needed < found.num_within ? max(static_cast<int>(needed), 1) : 0;
  }
  return cut;
}

}  // namespace millrace::cuda
