// One vector of 4 floats through the compiler's vector extension: the portable instance of the
// interface that the kernel templates use. fma rounds twice where the target has no such
// instruction.
#pragma once

#include <cstdint>
#include <cstring>

namespace millrace::cpu {
namespace {

struct VecPortable {
  typedef float Reg __attribute__((vector_size(16)));
  typedef int32_t Bits __attribute__((vector_size(16)));
  static constexpr int kWidth = 4;
  static constexpr int kTileRows = 4;
  static constexpr int kTileVectors = 2;
  static constexpr int kProductRows = kTileRows;
  static constexpr int kProductVectors = kTileVectors;

  static Reg zero() { return Reg{}; }
  static Reg set1(float x) { return Reg{x, x, x, x}; }
  static Reg load(const float* p) {
    Reg x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(float* p, Reg x) { std::memcpy(p, &x, sizeof x); }
  // The first n (0 < n < kWidth) elements; the rest reads as zero and is not written.
  static Reg load_part(const float* p, int64_t n) {
    Reg x = zero();
    for (int64_t i = 0; i < n; ++i) x[i] = p[i];
    return x;
  }
  static void store_part(float* p, Reg x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) p[i] = x[i];
  }
  // x with the elements from n on replaced by `fill`.
  static Reg keep_first(Reg x, int64_t n, float fill) {
    for (int64_t i = n; i < kWidth; ++i) x[i] = fill;
    return x;
  }

  static Reg add(Reg a, Reg b) { return a + b; }
  static Reg sub(Reg a, Reg b) { return a - b; }
  static Reg mul(Reg a, Reg b) { return a * b; }
  static Reg div(Reg a, Reg b) { return a / b; }
  static Reg min(Reg a, Reg b) { return a < b ? a : b; }
  static Reg max(Reg a, Reg b) { return a > b ? a : b; }
  static Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
  static Reg abs(Reg a) { return as_float(as_bits(a) & INT32_MAX); }
  static Reg copy_sign(Reg magnitude, Reg sign) {
    return as_float((as_bits(magnitude) & INT32_MAX) | (as_bits(sign) & INT32_MIN));
  }
  static Reg round(Reg a) {  // to nearest, ties to even, for magnitudes below 2^22
    const Reg magic = set1(12582912.0f);
    return (a + magic) - magic;
  }
  // a 2^n for whole n of magnitude up to 252, in two factors so that each is a normal number.
  static Reg scale_by_power(Reg a, Reg n) {
    const Bits whole = __builtin_convertvector(n, Bits);
    const Bits half = whole >> 1;
    return a * as_float((half + 127) << 23) * as_float((whole - half + 127) << 23);
  }

  static float sum(Reg a) { return (a[0] + a[2]) + (a[1] + a[3]); }
  static float maximum(Reg a) {
    const float even = a[0] > a[2] ? a[0] : a[2];
    const float odd = a[1] > a[3] ? a[1] : a[3];
    return even > odd ? even : odd;
  }

  // rows[i][j] becomes rows[j][i].
  static void transpose(Reg (&rows)[kWidth]) {
    for (int i = 0; i < kWidth; ++i) {
      for (int j = 0; j < i; ++j) {
        const float x = rows[i][j];
        rows[i][j] = rows[j][i];
        rows[j][i] = x;
      }
    }
  }

  static void prefetch(const void* p) { __builtin_prefetch(p); }

  // Floats of the first, or of the second, of kWidth pairs of bf16.
  static Reg widen_even(const uint16_t* p) { return as_float(load_pairs(p) << 16); }
  static Reg widen_odd(const uint16_t* p) { return as_float(load_pairs(p) & (INT32_MIN >> 15)); }
  static Bits load_pairs(const uint16_t* p) {
    Bits x;
    std::memcpy(&x, p, sizeof x);
    return x;
  }

  // bf16 of the nearest value, ties to even; NaN stays NaN.
  static void store_bf16(uint16_t* p, Reg a) { store_bf16_part(p, a, kWidth); }
  static void store_bf16_part(uint16_t* p, Reg a, int64_t n) {
    const Bits bits = as_bits(a);
    const Bits rounded = bits + ((bits >> 16) & 1) + 0x7fff;
    const Bits chosen = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded;
    for (int64_t i = 0; i < n; ++i)
      p[i] = static_cast<uint16_t>(static_cast<uint32_t>(chosen[i]) >> 16);
  }

  static Bits as_bits(Reg a) { return reinterpret_cast<Bits>(a); }
  static Reg as_float(Bits a) { return reinterpret_cast<Reg>(a); }
};

}  // namespace
}  // namespace millrace::cpu
