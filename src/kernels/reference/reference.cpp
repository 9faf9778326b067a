// Naive loops in double; written to be read, not to be fast.
#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/reference/row_index.h"

namespace millrace::reference {

namespace {

size_t count(int64_t rows, int64_t width) {
  return static_cast<size_t>(rows * width);
}

}  // namespace

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return std::max(x, 0.0);
    case Activation::kGelu: return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh: {
      const double inner = std::sqrt(2.0 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
      return 0.5 * x * (1.0 + std::tanh(inner));
    }
    case Activation::kSilu: return x / (1.0 + std::exp(-x));
    case Activation::kTanh: return std::tanh(x);
  }
  return x;
}

std::vector<double> linear(const std::vector<float>& x, const std::vector<float>& weight,
                           const std::vector<float>& bias, Activation activation, int64_t m,
                           int64_t n, int64_t k) {
  CHECK(x.size() == count(m, k) && weight.size() == count(n, k));
  std::vector<double> out(count(m, n));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = bias.empty() ? 0.0 : bias[static_cast<size_t>(j)];
      for (int64_t l = 0; l < k; ++l)
        sum += static_cast<double>(x[at(i, k, l)]) * weight[at(j, k, l)];
      out[at(i, n, j)] = activate(activation, sum);
    }
  }
  return out;
}

std::vector<double> layer_norm(const std::vector<float>& x, const std::vector<float>& delta,
                               const std::vector<float>& gamma, const std::vector<float>& beta,
                               double eps, int64_t rows, int64_t width) {
  std::vector<double> out(count(rows, width));
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0.0;
    for (int64_t j = 0; j < width; ++j) {
      double& y = out[at(r, width, j)];
      y = x[at(r, width, j)];
      if (!delta.empty()) y += delta[at(r, width, j)];
      sum += y;
    }
    const double mean = sum / static_cast<double>(width);
    double squares = 0.0;
    for (int64_t j = 0; j < width; ++j) squares += std::pow(out[at(r, width, j)] - mean, 2);
    const double deviation = std::sqrt(squares / static_cast<double>(width) + eps);
    for (int64_t j = 0; j < width; ++j) {
      const size_t c = static_cast<size_t>(j);
      double& y = out[at(r, width, j)];
      y = (y - mean) / deviation * gamma[c] + beta[c];
    }
  }
  return out;
}

std::vector<double> embed(const std::vector<std::vector<float>>& tables,
                          const std::vector<std::vector<int32_t>>& indices, int64_t rows,
                          int64_t width) {
  std::vector<double> out(count(rows, width));
  for (size_t t = 0; t < tables.size(); ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < width; ++j)
        out[at(r, width, j)] += tables[t][at(indices[t][static_cast<size_t>(r)], width, j)];
    }
  }
  return out;
}

std::vector<double> attention(const std::vector<float>& q, const std::vector<float>& k,
                              const std::vector<float>& v, const std::vector<int32_t>& cu_seqlens,
                              int64_t heads, int64_t head_dim, double scale) {
  const int64_t width = heads * head_dim;
  std::vector<double> out(q.size());
  for (size_t s = 0; s + 1 < cu_seqlens.size(); ++s) {
    const int64_t begin = cu_seqlens[s];
    const int64_t end = cu_seqlens[s + 1];
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = begin; i < end; ++i) {
        std::vector<double> weights;
        for (int64_t j = begin; j < end; ++j) {
          double score = 0.0;
          for (int64_t d = h * head_dim; d < (h + 1) * head_dim; ++d)
            score += static_cast<double>(q[at(i, width, d)]) * k[at(j, width, d)];
          weights.push_back(score * scale);
        }
        const double maximum = *std::max_element(weights.begin(), weights.end());
        double sum = 0.0;
        for (double& weight : weights) sum += weight = std::exp(weight - maximum);
        for (int64_t d = h * head_dim; d < (h + 1) * head_dim; ++d) {
          double& y = out[at(i, width, d)];
          for (int64_t j = begin; j < end; ++j)
            y += weights[static_cast<size_t>(j - begin)] / sum * v[at(j, width, d)];
        }
      }
    }
  }
  return out;
}

std::vector<double> pool_rows(const std::vector<float>& x, const std::vector<int32_t>& cu_seqlens,
                              Pooling pooling, int64_t width) {
  std::vector<double> out;
  for (size_t s = 0; s + 1 < cu_seqlens.size(); ++s) {
    int64_t begin = cu_seqlens[s];
    int64_t end = cu_seqlens[s + 1];
    if (pooling == Pooling::kFirst) end = begin + 1;
    if (pooling == Pooling::kLast) begin = end - 1;
    for (int64_t j = 0; j < width; ++j) {
      double sum = 0.0;
      for (int64_t r = begin; r < end; ++r) sum += x[at(r, width, j)];
      out.push_back(sum / static_cast<double>(end - begin));
    }
  }
  return out;
}

std::vector<double> l2_normalize(const std::vector<float>& x, int64_t rows, int64_t width) {
  std::vector<double> out(x.begin(), x.end());
  for (int64_t r = 0; r < rows; ++r) {
    double squares = 0.0;
    for (int64_t j = 0; j < width; ++j) squares += std::pow(out[at(r, width, j)], 2);
    const double norm = std::max(std::sqrt(squares), 1e-12);
    for (int64_t j = 0; j < width; ++j) out[at(r, width, j)] /= norm;
  }
  return out;
}

std::vector<double> softmax(const std::vector<float>& x, int64_t rows, int64_t width) {
  std::vector<double> out(x.begin(), x.end());
  for (int64_t r = 0; r < rows; ++r) {
    double maximum = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < width; ++j) maximum = std::max(maximum, out[at(r, width, j)]);
    double sum = 0.0;
    for (int64_t j = 0; j < width; ++j) {
      double& y = out[at(r, width, j)];
      sum += y = std::exp(y - maximum);
    }
    for (int64_t j = 0; j < width; ++j) out[at(r, width, j)] /= sum;
  }
  return out;
}

std::vector<double> sigmoid(const std::vector<float>& x) {
  std::vector<double> out;
  for (float value : x) out.push_back(1.0 / (1.0 + std::exp(-static_cast<double>(value))));
  return out;
}

double max_row_error(const float* actual, int64_t stride, const std::vector<double>& expected,
                     int64_t rows, int64_t width) {
  double worst = 0.0;
  for (int64_t r = 0; r < rows; ++r) {
    double error = 0.0;
    double norm = 0.0;
    for (int64_t j = 0; j < width; ++j) {
      const double truth = expected[at(r, width, j)];
      error += std::pow(static_cast<double>(actual[r * stride + j]) - truth, 2);
      norm += truth * truth;
    }
    if (std::isnan(error)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, std::sqrt(norm > 0.0 ? error / norm : error));
  }
  return worst;
}

}  // namespace millrace::reference
