// The distribution that a token is drawn from, and its logprobs: naive, sorted, in double.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace millrace::reference {

struct Sampling {
  double temperature = 1;
  int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<bool> allowed;                       // empty: all
  std::vector<std::pair<int32_t, double>> biases;  // token, added
  std::vector<std::pair<int32_t, int32_t>>
      counts;  // token of prompt or output, count in the output
};

// Logits after the mask, the biases and the penalties.
std::vector<double> adjusted_logits(const std::vector<float>& logits, const Sampling& sampling);

// Probabilities after temperature, min_p, top_k and top_p, of tokens in their order.
std::vector<double> sampling_probabilities(const std::vector<float>& logits,
                                           const Sampling& sampling);

std::vector<double> log_softmax(const std::vector<float>& logits);

}  // namespace millrace::reference
