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

// What wgmma is told of a tile in shared memory (PTX ISA, "matrix descriptor"): where to begin, how
// far the next panel is, how far eight more rows are, and the swizzle. The tile begins on 1024
// bytes. The upper word is a constant; the lower one moves with the address, in units of 16 bytes
// and without a carry: one addition per product.
template <class Tile>
__device__ inline unsigned descriptor_word(unsigned address) {
  return (Tile::kPanelBytes / 16 << 16) + address / 16;
}
template <class Tile>
__device__ inline Descriptor descriptor(unsigned word) {
  constexpr Descriptor kSwizzle = Tile::kPanelChunks == 8 ? 1 : 2;
  constexpr Descriptor kEightRows = 8 * Tile::kRowBytes / 16;
  return kSwizzle << 62 | kEightRows << 32 | word;
}

// Registers written before are seen by the products that follow.
__device__ inline void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most kPending groups are under way; `d` was written by one that is done then.
template <int kPending, int kCount>
__device__ inline void wgmma_wait(float (&d)[kCount]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// What this thread wrote to shared memory, also by copies that it has waited for, is seen by wgmma
// after the next barrier.
__device__ inline void shared_writes_to_wgmma() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// d = a b, or d += a b, 64 x kN: a is 64 x 16 in registers, b is kN rows of a tile, read in their
// first 16 columns; or, transposed, the first 16 rows of a tile, read in kN columns.
template <class T, int kN, bool kTransposed>
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

// COUNT = N / 2 accumulators come first among the operands, then A0 .. A3, B, accumulate,
// transpose.
#define MILLRACE_WGMMA(TYPE, NAME, N, COUNT, A0, A1, A2, A3, B, ACCUMULATE, TRANSPOSE)          \
  template <bool kTransposed>                                                                   \
  struct Wgmma<TYPE, N, kTransposed> {                                                          \
    template <bool kAccumulate>                                                                 \
    static __device__ void multiply(float (&d)[COUNT], const unsigned (&a)[4], Descriptor b) {  \
      asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." NAME "." NAME              \
                   " {" MILLRACE_R##COUNT "}, {%" #A0 ",%" #A1 ",%" #A2 ",%" #A3 "}, %" #B      \
                                          ", %" #ACCUMULATE ", 1, 1, %" #TRANSPOSE ";"          \
                   : MILLRACE_OUT##COUNT                                                        \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(int{kAccumulate}), \
                     "n"(int{kTransposed})                                                      \
                   : "memory");                                                                 \
    }                                                                                           \
  };

MILLRACE_WGMMA(bf16, "bf16", 32, 16, 16, 17, 18, 19, 20, 21, 22)
MILLRACE_WGMMA(fp16, "f16", 32, 16, 16, 17, 18, 19, 20, 21, 22)
MILLRACE_WGMMA(bf16, "bf16", 64, 32, 32, 33, 34, 35, 36, 37, 38)
MILLRACE_WGMMA(fp16, "f16", 64, 32, 32, 33, 34, 35, 36, 37, 38)
MILLRACE_WGMMA(bf16, "bf16", 96, 48, 48, 49, 50, 51, 52, 53, 54)
MILLRACE_WGMMA(fp16, "f16", 96, 48, 48, 49, 50, 51, 52, 53, 54)
MILLRACE_WGMMA(bf16, "bf16", 128, 64, 64, 65, 66, 67, 68, 69, 70)
MILLRACE_WGMMA(fp16, "f16", 128, 64, 64, 65, 66, 67, 68, 69, 70)

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
