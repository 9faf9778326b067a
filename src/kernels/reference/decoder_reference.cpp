// Naive loops in double; written to be read, not to be fast.
#include "kernels/reference/decoder_reference.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/row_index.h"

namespace millrace::reference {

std::vector<double> rms_norm(const std::vector<double>& x, const std::vector<float>& gamma,
                             double offset, double eps, int64_t rows, int64_t width) {
  std::vector<double> out(x.size());
  for (int64_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += x[at(r, width, i)] * x[at(r, width, i)];
    const double rms = std::sqrt(squares / static_cast<double>(width) + eps);
    for (int64_t i = 0; i < width; ++i)
      out[at(r, width, i)] = x[at(r, width, i)] / rms * (gamma[static_cast<size_t>(i)] + offset);
  }
  return out;
}

std::vector<double> rotate(const std::vector<double>& x, const std::vector<int32_t>& positions,
                           const std::vector<float>& inverse_frequencies, double scale,
                           bool interleaved, int64_t head_dim) {
  std::vector<double> out = x;
  const auto half = static_cast<int64_t>(inverse_frequencies.size());
  for (size_t r = 0; r < positions.size(); ++r) {
    for (int64_t i = 0; i < half; ++i) {
      const float angle =
          static_cast<float>(positions[r]) * inverse_frequencies[static_cast<size_t>(i)];
      const double c = scale * std::cos(static_cast<double>(angle));
      const double s = scale * std::sin(static_cast<double>(angle));
      const size_t first = at(static_cast<int64_t>(r), head_dim, interleaved ? 2 * i : i);
      const size_t second = first + static_cast<size_t>(interleaved ? 1 : half);
      out[first] = x[first] * c - x[second] * s;
      out[second] = x[second] * c + x[first] * s;
    }
  }
  return out;
}

std::vector<double> causal_attention(const std::vector<double>& q, const std::vector<double>& k,
                                     const std::vector<double>& v, const CausalAttention& shape) {
  const int64_t q_width = shape.heads * shape.head_dim;
  const int64_t kv_width = shape.kv_heads * shape.head_dim;
  const int64_t rows = static_cast<int64_t>(q.size()) / q_width;
  const int64_t keys = static_cast<int64_t>(k.size()) / kv_width;
  std::vector<double> out(q.size(), 0.0);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t end = keys - rows + row + 1;
    const int64_t begin = shape.window > 0 ? std::max<int64_t>(0, end - shape.window) : 0;
    for (int64_t head = 0; head < shape.heads; ++head) {
      const int64_t q_column = head * shape.head_dim;
      const int64_t kv_column = head / (shape.heads / shape.kv_heads) * shape.head_dim;
      std::vector<double> weights;
      for (int64_t key = begin; key < end; ++key) {
        double score = 0;
        for (int64_t i = 0; i < shape.head_dim; ++i)
          score += q[at(row, q_width, q_column + i)] * k[at(key, kv_width, kv_column + i)];
        score *= shape.scale;
        if (shape.soft_cap > 0) score = shape.soft_cap * std::tanh(score / shape.soft_cap);
        weights.push_back(score);
      }
      const double most = *std::ranges::max_element(weights);
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - most);
      for (int64_t key = begin; key < end; ++key) {
        for (int64_t i = 0; i < shape.head_dim; ++i)
          out[at(row, q_width, q_column + i)] +=
              weights[static_cast<size_t>(key - begin)] / sum * v[at(key, kv_width, kv_column + i)];
      }
    }
  }
  return out;
}

}  // namespace millrace::reference
