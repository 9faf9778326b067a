// A few passes over each row, and no sort of it: what is kept by top_k and top_p is found through a
// histogram of the weights, and only one of its buckets is sorted.
#include "kernels/cpu/sampling.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/cpu/philox.h"

namespace millrace::cpu {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kLanes = 4;     // floats of a vector
constexpr int64_t kRunning = 32;  // running values of a pass: in as many vectors as there are
constexpr int64_t kBlock = 1024;  // tokens whose weights are summed in float

using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using IntLanes = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

Lanes splat(float x) {
  return Lanes{} + x;
}

// The first `count` of at most kLanes; zeros behind them.
Lanes load(const float* x, int64_t count) {
  Lanes lanes{};
  if (count == kLanes) {
    std::memcpy(&lanes, x, sizeof(lanes));
  } else {
    std::memcpy(&lanes, x, static_cast<size_t>(count) * sizeof(float));
  }
  return lanes;
}

float max_of(const float* x, int64_t count) {
  std::array<float, kRunning> max;
  max.fill(-kInfinity);
  int64_t i = 0;
  for (; i + kRunning <= count; i += kRunning)
    for (int64_t l = 0; l < kRunning; ++l) max[l] = x[i + l] > max[l] ? x[i + l] : max[l];
  for (; i < count; ++i) max[0] = x[i] > max[0] ? x[i] : max[0];
  return *std::ranges::max_element(max);
}

// The first of the greatest; -1 when none is finite.
int32_t argmax(const float* x, int64_t count) {
  float best = -kInfinity;
  int64_t best_block = -1;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const float block_max = max_of(x + begin, std::min(kBlock, count - begin));
    if (!(block_max > best)) continue;
    best = block_max;
    best_block = begin;
  }
  if (best_block < 0 || best == kInfinity) return -1;
  const float* at = std::find(x + best_block, x + std::min(count, best_block + kBlock), best);
  return static_cast<int32_t>(at - x);
}

// e^x for x <= 0, relative error 2e-7; 0 below -87 and for NaN.
Lanes exp_of_negative(Lanes x) {
  const Lanes least = splat(-87.0f);
  const Lanes clamped = x > least ? x : least;
  const IntLanes n = __builtin_convertvector(clamped * 1.44269504f - 0.5f, IntLanes);
  const Lanes whole = __builtin_convertvector(n, Lanes);
  const Lanes r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;  // ln 2 in two parts
  Lanes p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Lanes e = p * std::bit_cast<Lanes>((n + 127) << 23);
  return x > least ? e : splat(0.0f);
}

// out = exp((x - max) * scale); `out` may be x.
void weights_of(const float* x, int64_t count, float max, float scale, float* out) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t size = std::min(kLanes, count - i);
    const Lanes e = exp_of_negative((load(x + i, size) - max) * scale);
    std::memcpy(out + i, &e, static_cast<size_t>(size) * sizeof(float));
  }
}

double sum_of(const float* x, int64_t count) {
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    Lanes sums[4] = {};
    int64_t i = begin;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes)
      for (int64_t v = 0; v < 4; ++v) sums[v] += load(x + i + v * kLanes, kLanes);
    for (; i < end; i += kLanes) sums[0] += load(x + i, std::min(kLanes, end - i));
    const Lanes sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int64_t l = 0; l < kLanes; ++l) total += sum[l];
  }
  return total;
}

// --- what is kept --------------------------------------------------------------------------------

// Tokens above a weight, and those of that weight up to an index.
struct Cut {
  float weight = 0;
  int64_t last = INT64_MAX;

  bool keeps(float w, int64_t index) const {
    return w > weight || (w == weight && w > 0 && index <= last);
  }
};

// Weights from 0 to 1 by their leading bits: eight buckets for each power of two.
class Histogram {
 public:
  Histogram(const float* weights, int64_t count, float least) : weights_(weights), count_(count) {
    for (int64_t i = 0; i < count; ++i) {
      if (!(weights[i] >= least) || weights[i] == 0) continue;
      Bucket& bucket = buckets_[bucket_of(weights[i])];
      ++bucket.count;
      bucket.mass += weights[i];
    }
  }

  int64_t num_tokens() const {
    int64_t total = 0;
    for (const Bucket& bucket : buckets_) total += bucket.count;
    return total;
  }

  double mass() const {
    double total = 0;
    for (const Bucket& bucket : buckets_) total += bucket.mass;
    return total;
  }

  // The k greatest and those equal to the last of them; 0 < k <= num_tokens().
  Cut greatest(int64_t k) const {
    size_t b = buckets_.size() - 1;
    for (; buckets_[b].count < k; --b) k -= buckets_[b].count;
    return {.weight = sorted(b)[static_cast<size_t>(k - 1)].first};
  }

  // The fewest, the greatest first, that have at least this mass together.
  Cut heaviest(double mass) const {
    size_t b = buckets_.size() - 1;
    for (; b > 0 && buckets_[b].mass < mass; --b) mass -= buckets_[b].mass;
    for (const auto& [weight, index] : sorted(b)) {
      mass -= weight;
      if (mass <= 0) return {.weight = weight, .last = index};
    }
    return {};  // all: the sums were rounded
  }

 private:
  struct Bucket {
    int64_t count = 0;
    double mass = 0;
  };

  static constexpr int kShift = 20;

  static size_t bucket_of(float weight) { return std::bit_cast<uint32_t>(weight) >> kShift; }

  // The greatest first, of equal ones the first token.
  std::vector<std::pair<float, int64_t>> sorted(size_t bucket) const {
    std::vector<std::pair<float, int64_t>> tokens;
    for (int64_t i = 0; i < count_; ++i)
      if (bucket_of(weights_[i]) == bucket) tokens.emplace_back(weights_[i], i);
    std::ranges::sort(tokens, [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    return tokens;
  }

  const float* weights_;
  int64_t count_;
  std::array<Bucket, (0x3f800000 >> kShift) + 1> buckets_;
};

// min_p, then top_k, then top_p of what those keep.
Cut choose_cut(const SampleRow& row, const float* weights, int64_t vocab) {
  Cut cut{.weight = row.min_p};
  if (row.top_k > 0 && row.top_k < vocab) {
    const Histogram histogram(weights, vocab, cut.weight);
    if (row.top_k < histogram.num_tokens()) cut = histogram.greatest(row.top_k);
  }
  if (row.top_p < 1) {
    const Histogram histogram(weights, vocab, cut.weight);
    cut = histogram.heaviest(static_cast<double>(row.top_p) * histogram.mass());
  }
  return cut;
}

// The token at which the weights, summed in order of the tokens, pass `share` of their sum.
int32_t draw(float* weights, int64_t vocab, const Cut& cut, double share) {
  if (cut.weight > 0)
    for (int64_t i = 0; i < vocab; ++i) weights[i] = cut.keeps(weights[i], i) ? weights[i] : 0;
  double rest = share * sum_of(weights, vocab);
  int64_t last = -1;
  for (int64_t begin = 0; begin < vocab; begin += kBlock) {
    const int64_t size = std::min(kBlock, vocab - begin);
    const double block = sum_of(weights + begin, size);
    if (block == 0) continue;
    double within = rest;
    for (int64_t i = begin; within < block && i < begin + size; ++i) {
      if (weights[i] == 0) continue;
      last = i;
      within -= weights[i];
      if (within < 0) return static_cast<int32_t>(i);
    }
    rest = std::max(0.0, rest - block);
    for (int64_t i = begin + size - 1; i > last; --i)
      if (weights[i] > 0) last = i;
  }
  return static_cast<int32_t>(last);
}

// --- a row ---------------------------------------------------------------------------------------

void adjust(const SampleRow& row, float* x, int64_t vocab) {
  if (row.mask) {
    for (int64_t i = 0; i < vocab; ++i)
      x[i] = (row.mask[i / 32] >> (i % 32) & 1) != 0 ? x[i] : -kInfinity;
  }
  for (const TokenBias& bias : row.biases) x[bias.token] += bias.bias;
  for (const TokenCount& counted : row.counts) {
    float& logit = x[counted.token];
    logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    logit -= row.frequency_penalty * static_cast<float>(counted.count);
    if (counted.count > 0) logit -= row.presence_penalty;
  }
}

int32_t sample_row(const SampleRow& row, const float* logits, int64_t vocab, float* scratch) {
  const float* x = logits;
  if (row.mask || !row.biases.empty() || !row.counts.empty()) {
    std::copy_n(logits, vocab, scratch);
    adjust(row, scratch, vocab);
    x = scratch;
  }
  if (row.temperature < kGreedyTemperature) return argmax(x, vocab);
  const float max = max_of(x, vocab);
  if (!std::isfinite(max)) return -1;
  weights_of(x, vocab, max, 1 / row.temperature, scratch);
  const Cut cut = choose_cut(row, scratch, vocab);
  return draw(scratch, vocab, cut, philox_uniform(row.seed, row.position));
}

double log_sum_exp(const float* x, int64_t count) {
  const float max = max_of(x, count);
  double total = 0;
  std::array<float, kBlock> weights;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = std::min(kBlock, count - begin);
    weights_of(x + begin, size, max, 1, weights.data());
    total += sum_of(weights.data(), size);
  }
  return max + std::log(total);
}

void tell_logprobs(const SampleArgs& args, size_t index, const float* x) {
  const SampleRow& row = args.rows[index];
  const int32_t token = args.tokens[index];
  if (token < 0) return;
  const double total = log_sum_exp(x, args.vocab);
  args.logprobs[index] = static_cast<float>(x[token] - total);
  int32_t rank = 1;
  for (int64_t i = 0; i < args.vocab; ++i) rank += x[i] > x[token] ? 1 : 0;
  args.ranks[index] = rank;
  std::vector<std::pair<float, int32_t>> top;  // the greatest first, of equal ones the first token
  const auto num_top = static_cast<size_t>(std::min(row.num_top, args.vocab));
  for (int64_t i = 0; num_top > 0 && i < args.vocab; ++i) {
    if (top.size() == num_top && !(x[i] > top.back().first)) continue;
    if (top.size() == num_top) top.pop_back();
    const auto place = std::ranges::find_if(top, [&](const auto& t) { return x[i] > t.first; });
    top.insert(place, {x[i], static_cast<int32_t>(i)});
  }
  const size_t first = index * static_cast<size_t>(args.top_stride);
  for (size_t i = 0; i < top.size(); ++i) {
    args.top_tokens[first + i] = top[i].second;
    args.top_logprobs[first + i] = static_cast<float>(top[i].first - total);
  }
}

}  // namespace

void sample(ThreadPool& pool, const SampleArgs& args) {
  const auto count = static_cast<int64_t>(args.rows.size());
  const int64_t parts = std::min<int64_t>(count, pool.num_threads());
  pool.parallel_for(parts, [&](int64_t part) {
    float* scratch = args.scratch + part * args.vocab;
    const PartitionRange range = partition(count, parts, part);
    for (int64_t r = range.begin; r < range.end; ++r) {
      const auto index = static_cast<size_t>(r);
      const float* logits = args.logits + args.rows[index].logits_row * args.logits_stride;
      const SampleRow& row = args.rows[index];
      args.tokens[index] =
          row.given_token >= 0 ? row.given_token : sample_row(row, logits, args.vocab, scratch);
      if (row.num_top >= 0) tell_logprobs(args, index, logits);
    }
  });
}

}  // namespace millrace::cpu
