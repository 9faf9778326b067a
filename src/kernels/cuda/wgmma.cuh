// The tensor cores of sm_90a: wgmma m64nNk16 on 16-bit numbers, issued by a warpgroup,
// asynchronous.
//
// A warpgroup is four warps, the first of a number divisible by four; accumulators of its 64 rows
// lie as online_softmax.cuh says, 16 rows per warp. Registers that a product reads or writes are
// not to be touched between its issue and the wait for it.
#pragma once

#include "numbers.cuh"
#include "shared_tile.cuh"

namespace millrace::cuda {

using Descriptor = unsigned long long;

// What wgmma is told of a tile from `address` on (PTX ISA, "matrix descriptor"): the swizzle, how
// far eight more rows are, and how far the next panel is. The tile begins on 1024 bytes. A product
// reads rows as they lie, or transposed.
template <class Tile>
__device__ inline Descriptor descriptor(unsigned address) {
  constexpr unsigned kSwizzle = Tile::kPanelChunks == 8 ? 1 : 2;
  constexpr unsigned kEightRows = 8 * Tile::kRowBytes / 16;
  constexpr unsigned kPanel = Tile::kPanelBytes / 16;
  // The upper word is a constant, the lower takes no carry: one addition per product.
  return Descriptor{kSwizzle << 30 | kEightRows} << 32 | ((kPanel << 16) + address / 16);
}

// Registers written before are seen by the products that follow.
__device__ inline void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Pins the computation of x before what follows, such as a wait, and its uses after that.
template <int kCount>
__device__ inline void pin(float (&x)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(x[i])::"memory");
}
// Until at most kPending groups are under way; `d` was written by one that is done then.
template <int kPending, int kCount>
__device__ inline void wgmma_wait(float (&d)[kCount]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  pin(d);
}

// Shared memory written by ordinary and asynchronous copies of this thread is seen by wgmma after
// the next barrier.
__device__ inline void shared_writes_to_wgmma() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// The two products of attention, each for N columns.
//   keys:   d = a b, or d += a b; a 64 x 16 in shared memory or registers, b as N rows of a tile
//   values: d += a b; a 64 x 16 in registers, b as 16 rows of a tile
template <class T, int kN>
struct Wgmma;

#define MILLRACE_R16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define MILLRACE_R32 MILLRACE_R16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define MILLRACE_R48 MILLRACE_R32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define MILLRACE_R64 MILLRACE_R48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define MILLRACE_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define MILLRACE_D16(i) MILLRACE_D4(i), MILLRACE_D4(i + 4), MILLRACE_D4(i + 8), MILLRACE_D4(i + 12)
#define MILLRACE_OUT16 MILLRACE_D16(0)
#define MILLRACE_OUT32 MILLRACE_OUT16, MILLRACE_D16(16)
#define MILLRACE_OUT48 MILLRACE_OUT32, MILLRACE_D16(32)
#define MILLRACE_OUT64 MILLRACE_OUT48, MILLRACE_D16(48)

// COUNT = N / 2 accumulators come first among the operands, then those numbered A0 .. A5.
#define MILLRACE_WGMMA(TYPE, NAME, N, COUNT, A0, A1, A2, A3, A4, A5)                             \
  template <>                                                                                    \
  struct Wgmma<TYPE, N> {                                                                        \
    static __device__ void keys(float (&d)[COUNT], Descriptor a, Descriptor b, int accumulate) { \
      asm volatile("{.reg .pred p; setp.ne.b32 p, %" #A2                                         \
                   ", 0; wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME          \
                   " {" MILLRACE_R##COUNT "}, %" #A0 ", %" #A1 ", p, 1, 1, 0, 0;}"               \
                   : MILLRACE_OUT##COUNT                                                         \
                   : "l"(a), "l"(b), "r"(accumulate)                                             \
                   : "memory");                                                                  \
    }                                                                                            \
    static __device__ void keys(float (&d)[COUNT], const unsigned (&a)[4], Descriptor b,         \
                                int accumulate) {                                                \
      asm volatile("{.reg .pred p; setp.ne.b32 p, %" #A5                                         \
                   ", 0; wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME          \
                   " {" MILLRACE_R##COUNT "}, {%" #A0 ",%" #A1 ",%" #A2 ",%" #A3 "}, %" #A4      \
                                          ", p, 1, 1, 0;}"                                       \
                   : MILLRACE_OUT##COUNT                                                         \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate)         \
                   : "memory");                                                                  \
    }                                                                                            \
    static __device__ void values(float (&d)[COUNT], const unsigned (&a)[4], Descriptor b) {     \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME               \
                   " {" MILLRACE_R##COUNT "}, {%" #A0 ",%" #A1 ",%" #A2 ",%" #A3 "}, %" #A4      \
                                          ", 1, 1, 1, 1;"                                        \
                   : MILLRACE_OUT##COUNT                                                         \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)                          \
                   : "memory");                                                                  \
    }                                                                                            \
  };

MILLRACE_WGMMA(bf16, "bf16", 32, 16, 16, 17, 18, 19, 20, 21)
MILLRACE_WGMMA(fp16, "f16", 32, 16, 16, 17, 18, 19, 20, 21)
MILLRACE_WGMMA(bf16, "bf16", 64, 32, 32, 33, 34, 35, 36, 37)
MILLRACE_WGMMA(fp16, "f16", 64, 32, 32, 33, 34, 35, 36, 37)
MILLRACE_WGMMA(bf16, "bf16", 96, 48, 48, 49, 50, 51, 52, 53)
MILLRACE_WGMMA(fp16, "f16", 96, 48, 48, 49, 50, 51, 52, 53)
MILLRACE_WGMMA(bf16, "bf16", 128, 64, 64, 65, 66, 67, 68, 69)
MILLRACE_WGMMA(fp16, "f16", 128, 64, 64, 65, 66, 67, 68, 69)

#undef MILLRACE_WGMMA
#undef MILLRACE_OUT64
#undef MILLRACE_OUT48
#undef MILLRACE_OUT32
#undef MILLRACE_OUT16
#undef MILLRACE_D16
#undef MILLRACE_D4
#undef MILLRACE_R64
#undef MILLRACE_R48
#undef MILLRACE_R32
#undef MILLRACE_R16

}  // namespace millrace::cuda
