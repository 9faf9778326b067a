// The tensor cores of sm_80 and later: mma.sync m16n8k16 on 16-bit numbers, and ldmatrix to feed
// it.
#pragma once

#include "numbers.cuh"

namespace millrace::cuda {

// Four 8 x 8 matrices; lane l names row l % 8 of matrix l / 8. Of each, lane l receives the numbers
// 2 (l % 4) and the next of row l / 4; transposed, of column l / 4.
__device__ inline void load_matrices(unsigned from, unsigned (&x)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from)
               : "memory");
}
__device__ inline void load_matrices_transposed(unsigned from, unsigned (&x)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from)
               : "memory");
}

// d[0 .. 4) += a b: 16 x 8 += (16 x 16)(16 x 8).
template <class T>
__device__ void multiply_add(float* d, const unsigned (&a)[4], unsigned b0, unsigned b1);

template <>
__device__ inline void multiply_add<bf16>(float* d, const unsigned (&a)[4], unsigned b0,
                                          unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void multiply_add<fp16>(float* d, const unsigned (&a)[4], unsigned b0,
                                          unsigned b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace millrace::cuda
