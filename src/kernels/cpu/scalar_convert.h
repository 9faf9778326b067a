// fp32, bf16 and fp16 one element at a time: the definition of the conversions.
#pragma once

#include <bit>
#include <cstdint>

#include "base/error.h"
#include "tensor/dtype.h"

namespace millrace::cpu {

inline float float_of_bf16(uint16_t x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
}

inline float float_of_fp16(uint16_t x) {
  // The exponent is re-biased by a multiplication, which also normalises subnormal numbers.
  const uint32_t sign = static_cast<uint32_t>(x & 0x8000) << 16;
  const float magnitude = std::bit_cast<float>(static_cast<uint32_t>(x & 0x7fff) << 13) * 0x1p112f;
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  return std::bit_cast<float>(sign | bits | (magnitude >= 65536.0f ? 0x7f800000u : 0u));
}

inline uint16_t bf16_of(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  return static_cast<uint16_t>((x != x ? bits | 0x400000 : rounded) >> 16);
}

inline uint16_t fp16_of(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  uint32_t half = 0;
  if (magnitude > 0x7f800000) {
    half = 0x7e00;  // NaN
  } else if (magnitude >= 0x477ff000) {
    half = 0x7c00;  // 65520 and above round to infinity
  } else if (magnitude < 0x38800000) {
    // Subnormal: one half has fp16's least step as its last bit, so the addition rounds.
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) -
           std::bit_cast<uint32_t>(0.5f);
  } else {
    half = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

// Calls body(read), where read(i) is element i of `x` as a float.
template <typename Body>
void with_reader(const void* x, DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF32: return body([x](int64_t i) { return static_cast<const float*>(x)[i]; });
    case DType::kBF16:
      return body([x](int64_t i) { return float_of_bf16(static_cast<const uint16_t*>(x)[i]); });
    case DType::kF16:
      return body([x](int64_t i) { return float_of_fp16(static_cast<const uint16_t*>(x)[i]); });
    default: CHECK(false, "no conversion from {}", to_string(dtype));
  }
}

}  // namespace millrace::cpu
