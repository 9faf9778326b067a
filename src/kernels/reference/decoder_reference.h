// The truth of what decoders compute: naive loops, sums in double, dense rows.
#pragma once

#include <cstdint>
#include <vector>

namespace millrace::reference {

// x / sqrt(mean(x^2) + eps) * (gamma + offset): x [rows, width], gamma [width].
std::vector<double> rms_norm(const std::vector<double>& x, const std::vector<float>& gamma,
                             double offset, double eps, int64_t rows, int64_t width);

// Rotates x [rows, head_dim] by position * inverse_frequencies, angles being products in fp32; the
// elements behind 2 * inverse_frequencies.size() stay. Pairs are halves, or neighbours.
std::vector<double> rotate(const std::vector<double>& x, const std::vector<int32_t>& positions,
                           const std::vector<float>& inverse_frequencies, double scale,
                           bool interleaved, int64_t head_dim);

// What one sequence's attention depends on beside its tensors.
struct CausalAttention {
  int64_t heads = 1;
  int64_t kv_heads = 1;
  int64_t head_dim = 1;
  int64_t window = 0;  // 0: none
  double scale = 1;
  double soft_cap = 0;  // 0: none
};

// Rows of one sequence, the last ones of `keys`: q [rows, heads * head_dim], k and v
// [keys, kv_heads * head_dim].
std::vector<double> causal_attention(const std::vector<double>& q, const std::vector<double>& k,
                                     const std::vector<double>& v, const CausalAttention& shape);

}  // namespace millrace::reference
