// The table of one instruction set from the templates.
#pragma once

#include "kernels/cpu/attention_impl.h"
#include "kernels/cpu/gemm_impl.h"
#include "kernels/cpu/norm_impl.h"
#include "kernels/cpu/paged_kv_impl.h"
#include "kernels/cpu/pooling_impl.h"

namespace millrace::cpu {
namespace {

template <class V>
void narrow_to_bf16(const float* x, uint16_t* out, int64_t count) {
  for_each_vector<V>(
      count, [&](int64_t j) { V::store_bf16(out + j, V::load(x + j)); },
      [&](int64_t j, int64_t n) { V::store_bf16_part(out + j, V::load_part(x + j, n), n); });
}

template <class V>
constexpr Kernels make_kernels(Isa isa) {
  return {
      .isa = isa,
      .gemm_f32 = {.panel = {.width = F32Tiles<V>::kWidth, .depth = 1, .k_multiple = 1},
                   .cost = {.tile_rows = F32Tiles<V>::kTileRows},
                   .run = gemm_block<V, F32Tiles<V>, 1>},
      .gemm_f32_bf16 = {.panel = {.width = F32Bf16Tiles<V>::kWidth, .depth = 2, .k_multiple = 2},
                        .cost = {.tile_rows = F32Bf16Tiles<V>::kTileRows, .uncached_panel = 20},
                        .run = gemm_block<V, F32Bf16Tiles<V>, 2>},
      .gemm_bf16 = {},
      .attention = attention_item<V>,
      .layer_norm = layer_norm_rows<V>,
      .embed = embed_rows<V>,
      .pool_rows = pool_sequences<V>,
      .l2_normalize = l2_normalize_rows<V>,
      .softmax = softmax_rows<V>,
      .sigmoid = sigmoid_rows<V>,
      .rms_norm = rms_norm_rows<V>,
      .act_and_mul = act_and_mul_rows<V>,
      .scale_and_cap = scale_and_cap_rows<V>,
      .rope_and_write_kv = rope_write_rows<V>,
      .paged_attention = paged_attention_item<V>,
      .f32_to_bf16 = narrow_to_bf16<V>};
}

}  // namespace
}  // namespace millrace::cpu
