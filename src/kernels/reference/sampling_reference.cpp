// One step after the other, over all tokens.
#include "kernels/reference/sampling_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace millrace::reference {

namespace {

void normalize(std::vector<double>& p) {
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
}

}  // namespace

std::vector<double> adjusted_logits(const std::vector<float>& logits, const Sampling& sampling) {
  std::vector<double> x(logits.begin(), logits.end());
  for (size_t i = 0; i < sampling.allowed.size(); ++i)
    if (!sampling.allowed[i]) x[i] = -std::numeric_limits<double>::infinity();
  for (const auto& [token, bias] : sampling.biases) x[static_cast<size_t>(token)] += bias;
  for (const auto& [token, count] : sampling.counts) {
    double& logit = x[static_cast<size_t>(token)];
    logit *= logit > 0 ? 1 / sampling.repetition_penalty : sampling.repetition_penalty;
    logit -= sampling.frequency_penalty * count + (count > 0 ? sampling.presence_penalty : 0);
  }
  return x;
}

std::vector<double> sampling_probabilities(const std::vector<float>& logits,
                                           const Sampling& sampling) {
  std::vector<double> p = adjusted_logits(logits, sampling);
  const double max = *std::ranges::max_element(p);
  for (double& value : p) value = std::exp((value - max) / sampling.temperature);
  normalize(p);
  const double least = sampling.min_p * *std::ranges::max_element(p);
  for (double& value : p)
    if (value < least) value = 0;
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return p[a] > p[b]; });
  if (sampling.top_k > 0 && sampling.top_k < static_cast<int64_t>(p.size())) {
    const double last = p[order[static_cast<size_t>(sampling.top_k - 1)]];
    for (double& value : p)
      if (value < last) value = 0;
  }
  normalize(p);
  double before = 0;
  for (const size_t token : order) {
    const double value = p[token];
    if (before >= sampling.top_p) p[token] = 0;
    before += value;
  }
  normalize(p);
  return p;
}

std::vector<double> log_softmax(const std::vector<float>& logits) {
  const double max = *std::ranges::max_element(logits);
  double total = 0;
  for (const float x : logits) total += std::exp(x - max);
  std::vector<double> out;
  for (const float x : logits) out.push_back(x - max - std::log(total));
  return out;
}

}  // namespace millrace::reference
