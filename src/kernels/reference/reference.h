// The truth that every kernel is tested against: naive loops, sums in double, dense rows.
#pragma once

#include <cstdint>
#include <vector>

namespace millrace::reference {

enum class Activation : uint8_t { kNone, kRelu, kGelu, kGeluTanh, kSilu, kTanh };

double activate(Activation activation, double x);

// activation(x W^T + bias): x [m, k], weight [n, k], bias [n] or empty; returns [m, n].
std::vector<double> linear(const std::vector<float>& x, const std::vector<float>& weight,
                           const std::vector<float>& bias, Activation activation, int64_t m,
                           int64_t n, int64_t k);

// norm(x + delta): x [rows, width], delta the same or empty, gamma and beta [width].
std::vector<double> layer_norm(const std::vector<float>& x, const std::vector<float>& delta,
                               const std::vector<float>& gamma, const std::vector<float>& beta,
                               double eps, int64_t rows, int64_t width);

// The sum of table[t][indices[t][r]] over the tables; each table [*, width]. Returns [rows, width].
std::vector<double> embed(const std::vector<std::vector<float>>& tables,
                          const std::vector<std::vector<int32_t>>& indices, int64_t rows,
                          int64_t width);

// Bidirectional attention of packed sequences: q, k, v are [tokens, heads * head_dim].
std::vector<double> attention(const std::vector<float>& q, const std::vector<float>& k,
                              const std::vector<float>& v, const std::vector<int32_t>& cu_seqlens,
                              int64_t heads, int64_t head_dim, double scale);

enum class Pooling : uint8_t { kMean, kFirst, kLast };

// One row per sequence from x [tokens, width].
std::vector<double> pool_rows(const std::vector<float>& x, const std::vector<int32_t>& cu_seqlens,
                              Pooling pooling, int64_t width);

// Each row of x [rows, width] by itself.
std::vector<double> l2_normalize(const std::vector<float>& x, int64_t rows, int64_t width);
std::vector<double> softmax(const std::vector<float>& x, int64_t rows, int64_t width);
std::vector<double> sigmoid(const std::vector<float>& x);

// The greatest of |actual - expected| / |expected| over the rows (Euclidean norms): the metric of
// op tests. A NaN anywhere gives infinity; a zero expected row counts its absolute error.
double max_row_error(const float* actual, int64_t stride, const std::vector<double>& expected,
                     int64_t rows, int64_t width);

}  // namespace millrace::reference
