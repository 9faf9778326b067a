// One formula a way of scaling.
#include "layers/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace millrace {

namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;

double llama3(double frequency, const RopeConfig& c) {
  const double original = static_cast<double>(c.original_max_positions);
  const double wavelength = kTwoPi / frequency;
  if (wavelength < original / c.high_freq_factor) return frequency;
  if (wavelength > original / c.low_freq_factor) return frequency / c.factor;
  const double smooth =
      (original / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  return (1 - smooth) * frequency / c.factor + smooth * frequency;
}

// The share of interpolation of frequency `i`: a ramp between those that turn beta_fast and
// beta_slow times within the original length.
double yarn_ramp(int64_t i, const RopeConfig& c) {
  const auto dim = static_cast<double>(c.rotary_dim);
  const auto index_of = [&](double rotations) {
    return dim * std::log(static_cast<double>(c.original_max_positions) / (rotations * kTwoPi)) /
           (2 * std::log(c.theta));
  };
  double low = index_of(c.beta_fast), high = index_of(c.beta_slow);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

double scaled(double frequency, int64_t i, const RopeConfig& c, const std::vector<float>& factors) {
  switch (c.scaling) {
    case RopeScaling::kNone: return frequency;
    case RopeScaling::kLinear: return frequency / c.factor;
    case RopeScaling::kLlama3: return llama3(frequency, c);
    case RopeScaling::kYarn: {
      const double ramp = yarn_ramp(i, c);
      return frequency / c.factor * ramp + frequency * (1 - ramp);
    }
    case RopeScaling::kLongRope: return frequency / factors[static_cast<size_t>(i)];
  }
  return frequency;
}

}  // namespace

Rope make_rope(const RopeConfig& config, int64_t max_positions) {
  const std::vector<float>& factors =
      max_positions > config.original_max_positions ? config.long_factor : config.short_factor;
  Rope rope{.scale = static_cast<float>(config.attention_factor)};
  for (int64_t i = 0; i < config.rotary_dim / 2; ++i) {
    const double exponent = 2 * static_cast<double>(i) / static_cast<double>(config.rotary_dim);
    const double frequency = 1 / std::pow(config.theta, exponent);
    rope.inverse_frequencies.push_back(static_cast<float>(scaled(frequency, i, config, factors)));
  }
  return rope;
}

}  // namespace millrace
