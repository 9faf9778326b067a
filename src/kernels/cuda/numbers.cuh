// bf16, fp16 and float as the kernels see them: conversions, pairs in a register, 16-byte vectors.
//
// Compiled by NVRTC without any header: everything here is built-in types and PTX (sm_80 or later).
#pragma once

namespace millrace::cuda {

struct bf16 {
  unsigned short bits;
};
struct fp16 {
  unsigned short bits;
};

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(bf16 x) {
  return __uint_as_float(unsigned{x.bits} << 16);
}
__device__ inline float to_float(fp16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

// Two numbers of T in one register, `low` in its lower half; rounded to nearest even.
template <class T>
__device__ unsigned pack(float low, float high);
template <>
__device__ inline unsigned pack<bf16>(float low, float high) {
  unsigned y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
template <>
__device__ inline unsigned pack<fp16>(float low, float high) {
  unsigned y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}

template <class T>
__device__ inline T from_float(float x) {
  return T{static_cast<unsigned short>(pack<T>(x, 0.0f))};
}
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}

// Elements of T in 16 bytes.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

template <class T>
__device__ inline bool is_aligned(const T* p) {
  return reinterpret_cast<unsigned long long>(p) % 16 == 0;
}

// Whether every row of `stride` elements that begins at or after `p` can be read in vectors of T.
template <class T>
__device__ inline bool are_rows_aligned(const T* p, long long stride) {
  return is_aligned(p) && stride % kVector<T> == 0;
}

// x[0 .. kVector) from 16 aligned bytes, and back.
__device__ inline void load_vector(const float* p, float (&x)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(p);
  x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
}
template <class T>
__device__ inline void load_vector(const T* p, float (&x)[8]) {
  const uint4 v = *reinterpret_cast<const uint4*>(p);
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = to_float(T{static_cast<unsigned short>(words[i])});
    x[2 * i + 1] = to_float(T{static_cast<unsigned short>(words[i] >> 16)});
  }
}
__device__ inline void store_vector(float* p, const float (&x)[4]) {
  *reinterpret_cast<float4*>(p) = make_float4(x[0], x[1], x[2], x[3]);
}
template <class T>
__device__ inline void store_vector(T* p, const float (&x)[8]) {
  *reinterpret_cast<uint4*>(p) = make_uint4(pack<T>(x[0], x[1]), pack<T>(x[2], x[3]),
                                            pack<T>(x[4], x[5]), pack<T>(x[6], x[7]));
}

// 16 bytes as they lie in memory, for loads that are used later, and the numbers in them.
template <class T>
__device__ inline uint4 load_raw(const T* p) {
  return *reinterpret_cast<const uint4*>(p);
}
template <class T>
__device__ inline void unpack(uint4 v, float (&x)[kVector<T>]) {
  const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      x[i] = __uint_as_float(words[i]);
    } else {
      x[2 * i] = to_float(T{static_cast<unsigned short>(words[i])});
      x[2 * i + 1] = to_float(T{static_cast<unsigned short>(words[i] >> 16)});
    }
  }
}

// The same for `count` elements at any address; what lies past them reads as zero.
template <class T>
__device__ inline void load_part(const T* p, int count, float (&x)[kVector<T>]) {
#pragma unroll
  for (int e = 0; e < kVector<T>; ++e) x[e] = e < count ? to_float(p[e]) : 0.0f;
}
template <class T>
__device__ inline void store_part(T* p, int count, const float (&x)[kVector<T>]) {
#pragma unroll
  for (int e = 0; e < kVector<T>; ++e)
    if (e < count) p[e] = from_float<T>(x[e]);
}

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(~0u, x, lanes);
  return x;
}

}  // namespace millrace::cuda
