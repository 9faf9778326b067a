// A counter-based generator: SplitMix64 (Steele, Lea, Flood 2014) over the index of a value.
#include "layers/random_source.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "base/error.h"

namespace millrace {

namespace {

uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Nearly normal, of deviation 1: the sum of four uniform numbers, scaled.
float near_normal(uint64_t key) {
  const uint64_t bits = mix(key);
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>((bits >> (16 * i)) & 0xffff) / 65536.0f;
  return (sum - 2.0f) * std::sqrt(3.0f);
}

uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace

std::optional<Tensor> RandomSource::find(const std::string& name, const Shape& expected) const {
  CHECK(dtype_ == DType::kF32 || dtype_ == DType::kBF16, "no random values of {}",
        to_string(dtype_));
  constexpr int64_t kPiece = 65536;  // values that one thread makes at a time
  const int64_t count = expected.numel();
  void* data = memory_.emplace_back(Buffer::host(count * size_of(dtype_))).data();
  const uint64_t key = mix(seed_ ^ mix(std::hash<std::string>()(name)));
  const float mean = expected.rank() == 1 && name.ends_with("weight") ? 1.0f : 0.0f;
  pool_.parallel_for((count + kPiece - 1) / kPiece, [&](int64_t piece) {
    for (int64_t i = piece * kPiece; i < std::min(count, (piece + 1) * kPiece); ++i) {
      const float value = mean + 0.02f * near_normal(key + static_cast<uint64_t>(i));
      if (dtype_ == DType::kF32) {
        static_cast<float*>(data)[i] = value;
      } else {
        static_cast<uint16_t*>(data)[i] = to_bf16(value);
      }
    }
  });
  return Tensor::contiguous(data, dtype_, expected);
}

}  // namespace millrace
