// The table behind kernels_for(): what each instruction set's file provides. All functions here
// work on one thread; the drivers (gemm.cpp, attention.cpp, rows.cpp) share the work out.
#pragma once

#include "kernels/cpu/attention.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/decoder_rows.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_partition.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/paged_kv.h"
#include "kernels/cpu/pooling.h"

namespace millrace::cpu {

// How a weight is laid out: panels of `width` output features; within a panel, for each group of
// `depth` input features, `depth` neighbours of each output feature. Zeros fill up the last panel,
// and the input features up to a multiple of `k_multiple`.
struct PanelShape {
  int64_t width = 0;
  int64_t depth = 1;
  int64_t k_multiple = 1;
};

// A rectangle of a product: rows and panels, both half-open.
struct GemmBlock {
  int64_t row_begin = 0;
  int64_t row_end = 0;
  int64_t panel_begin = 0;
  int64_t panel_end = 0;
};

// The queries [query_begin, query_end) of one head of one sequence, counted from its start.
struct AttentionItem {
  int64_t token_begin = 0;  // the sequence's rows
  int64_t token_end = 0;
  int64_t query_begin = 0;
  int64_t query_end = 0;
  int64_t head = 0;
};

// Rows of one item of paged attention: row begin + i is query (begin + i) / group of its sequence
// in head (begin + i) % group of the heads that share the keys of `kv_head`.
struct PagedAttentionItem {
  int64_t sequence = 0;
  int64_t kv_head = 0;
  int64_t begin = 0;
  int64_t end = 0;
};

inline constexpr int64_t kPagedItemRows = 64;  // at most

// Queries of one item at most; bounds the scratch of a kernel.
inline constexpr int64_t kMaxItemQueries = 256;

// The products of one pair of types.
struct ProductKernel {
  PanelShape panel;
  ProductCost cost;
  void (*run)(const GemmArgs& args, const GemmBlock& block) = nullptr;  // nullptr: there are none
};

using RowsKernel = void (*)(const RowsArgs& args, int64_t row_begin, int64_t row_end);

struct Kernels {
  Isa isa = Isa::kPortable;
  ProductKernel gemm_f32;
  ProductKernel gemm_f32_bf16;  // fp32 by bf16
  ProductKernel gemm_bf16;
  void (*attention)(const AttentionArgs& args, const AttentionItem& item) = nullptr;
  void (*layer_norm)(const LayerNormArgs& args, int64_t row_begin, int64_t row_end) = nullptr;
  void (*embed)(const EmbedArgs& args, int64_t row_begin, int64_t row_end) = nullptr;
  void (*pool_rows)(const PoolArgs& args, int64_t seq_begin, int64_t seq_end) = nullptr;
  RowsKernel l2_normalize = nullptr;
  RowsKernel softmax = nullptr;
  RowsKernel sigmoid = nullptr;
  void (*rms_norm)(const RmsNormArgs& args, int64_t row_begin, int64_t row_end) = nullptr;
  void (*act_and_mul)(const ActAndMulArgs& args, int64_t row_begin, int64_t row_end) = nullptr;
  void (*scale_and_cap)(const ScaleAndCapArgs& args, int64_t row_begin, int64_t row_end) = nullptr;
  void (*rope_and_write_kv)(const RopeWriteArgs& args, int64_t row_begin,
                            int64_t row_end) = nullptr;
  void (*paged_attention)(const PagedAttentionArgs& args, const PagedAttentionItem& item) = nullptr;
  void (*f32_to_bf16)(const float* x, uint16_t* out, int64_t count) = nullptr;
};

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512Bf16Kernels;
extern const Kernels kAmxBf16Kernels;
#endif

}  // namespace millrace::cpu
