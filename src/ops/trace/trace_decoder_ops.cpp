// The cost of the ops of decoders.
#include <algorithm>

#include "kernels/cuda/decoder_row_choice.h"
#include "ops/cuda_choice.h"
#include "ops/paged_tiles.h"
#include "ops/trace/trace_ops.h"

namespace millrace {

namespace {

// Keys that the rows of one sequence read, of a layer that sees a window (0: all).
int64_t keys_read(int64_t rows, int64_t keys, int64_t window) {
  return window > 0 ? std::min(keys, rows + window - 1) : keys;
}

}  // namespace

Tensor TraceOps::place_table(const Tensor& host) {
  return device().kind == DeviceKind::kCpu ? host : place(host);
}

void TraceOps::allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& size) {
  kv_cache_ = {.spec = spec, .size = size, .dtype = precision().hidden};
  kv_cache_.layers =
      lay_out_kv(spec, size.num_blocks, size.block_size, kv_cache_.dtype, nullptr, device());
}

void TraceOps::run_embed_tokens(const Batch& batch, const Tensor& table, float /*scale*/,
                                const Tensor& out) {
  TracedOp& op =
      note({.name = "embed_tokens",
            .description = fmt::format("{} rows of {}", batch.num_tokens(), to_string(table)),
            .flops = out.numel(),
            .weight_bytes = out.numel() * size_of(table.dtype),
            .activation_bytes = out.bytes()});
  if (arch_) op.kernels = {cuda::gather_rows_kernel(out.dtype, out.rows(), out.columns())};
}

void TraceOps::run_rms_norm(const Tensor& x, const RmsNorm& norm, const Tensor& out) {
  TracedOp& op = note({.name = "rms_norm",
                       .description = to_string(x.shape),
                       .flops = x.numel(),
                       .weight_bytes = norm.weight.bytes(),
                       .activation_bytes = x.bytes() + out.bytes()});
  if (arch_) op.kernels = {cuda::rms_norm_kernel(x.dtype, x.rows(), x.columns())};
}

void TraceOps::run_add_rms_norm(const HiddenStates& hidden, const Activation& delta,
                                const ResidualAdd& add, const RmsNorm& norm) {
  const Tensor& rows = hidden.residual;
  TracedOp& op = note(
      {.name = "add_rms_norm",
       .description = to_string(rows.shape),
       .flops = rows.numel(),
       .weight_bytes = norm.weight.bytes() + (add.norm ? add.norm->weight.bytes() : 0),
       .activation_bytes = 2 * rows.bytes() + delta.values.bytes() + hidden.normed.values.bytes()});
  if (arch_) op.kernels = {cuda::rms_norm_kernel(rows.dtype, rows.rows(), rows.columns())};
}

void TraceOps::run_act_and_mul(const Tensor& gate_up, ActivationFunction f, const Tensor& out) {
  TracedOp& op = note({.name = "act_and_mul",
                       .description = fmt::format("{} {}", to_string(f), to_string(out.shape)),
                       .flops = out.numel(),
                       .activation_bytes = gate_up.bytes() + out.bytes()});
  if (arch_) {
    op.kernels = {cuda::act_and_mul_kernel(out.dtype, function_of(f), out.rows(), out.columns())};
  }
}

void TraceOps::run_gather_logits_rows(const Tensor& x, const Batch& /*batch*/, const Tensor& out) {
  TracedOp& op = note({.name = "gather_logits_rows",
                       .description = fmt::format("{} of {}", out.rows(), to_string(x.shape)),
                       .flops = out.numel(),
                       .activation_bytes = 2 * out.bytes()});
  if (arch_) op.kernels = {cuda::gather_rows_kernel(out.dtype, out.rows(), out.columns())};
}

void TraceOps::run_scale_and_cap(const Tensor& out, float /*scale*/, float /*soft_cap*/) {
  TracedOp& op = note({.name = "scale_and_cap",
                       .description = to_string(out.shape),
                       .flops = out.numel(),
                       .activation_bytes = 2 * out.bytes()});
  if (arch_) op.kernels = {cuda::scale_and_cap_kernel(out.rows(), out.columns())};
}

void TraceOps::run_copy_kv_blocks(std::span<const KvCopy> copies) {
  note({.name = "copy_kv_blocks", .description = fmt::format("{} blocks", copies.size())});
}

void TraceOps::run_rope_angles(const Batch& /*batch*/, const Rope& /*rope*/, const Tensor& out) {
  TracedOp& op = note({.name = "rope_angles",
                       .description = to_string(out.shape),
                       .flops = out.numel(),
                       .activation_bytes = out.bytes()});
  if (arch_) op.kernels = {cuda::rope_angles_kernel(out.rows(), out.columns() / 2)};
}

void TraceOps::run_rope_and_write_kv(const Tensor& qkv, const Batch& /*batch*/, size_t layer,
                                     const HeadLayout& heads, const Rope& rope,
                                     const Tensor& angles, const RmsNorm* q_norm,
                                     const RmsNorm* /*k_norm*/) {
  TracedOp& op = note(
      {.name = "rope_and_write_kv",
       .description = fmt::format("layer {}: {} rows, {} + {} heads of {}, {} rotated{}", layer,
                                  qkv.rows(), heads.num_heads, heads.num_kv_heads, heads.head_dim,
                                  rope.rotary_dim(), q_norm ? ", normalised" : ""),
       .flops = qkv.numel(),
       .activation_bytes = 2 * qkv.bytes() + angles.bytes()});
  if (arch_)
    op.kernels = {
        cuda::rope_write_kernel(qkv.dtype, qkv.rows(), heads.num_heads, heads.num_kv_heads)};
}

void TraceOps::run_paged_attention(const Tensor& qkv, const Batch& batch, size_t layer,
                                   const CausalAttention& attention, const Tensor& out) {
  const HeadLayout& heads = attention.heads;
  const size_t group = kv_cache_.layers[layer].group;
  const int64_t window = kv_cache_.spec.groups[group].window;
  int64_t read = 0, pairs = 0;
  for (size_t i = 0; i < batch.kv_lengths.size(); ++i) {
    const int64_t rows = batch.cu_seqlens[i + 1] - batch.cu_seqlens[i];
    const int64_t keys = batch.kv_lengths[i];
    read += keys_read(rows, keys, window);
    for (int64_t row = 0; row < rows; ++row) pairs += keys_read(1, keys - rows + row + 1, window);
  }
  TracedOp& op = note({.name = "paged_attention",
                       .description = fmt::format("layer {}: {} sequences, {} heads of {} over {}",
                                                  layer, batch.num_sequences(), heads.num_heads,
                                                  heads.head_dim, heads.num_kv_heads),
                       .flops = 4 * pairs * heads.num_heads * heads.head_dim,
                       .activation_bytes = 2 * read * heads.num_kv_heads * heads.head_dim *
                                               size_of(kv_cache_.dtype) +
                                           2 * out.bytes()});
  if (!arch_) return;
  const PagedLayer cached = {.type = qkv.dtype,
                             .heads = heads,
                             .cache_group = group,
                             .window = window,
                             .soft_cap = attention.soft_cap > 0};
  for (const PagedLaunch& paged : paged_launches(cached, *arch_, false)) {
    const ArenaScope scope(arena());
    allocate_paged_workspace(arena(), paged, heads.num_kv_heads);
    const auto tiles = static_cast<int64_t>(paged_tiles(batch, paged.list).size());
    op.kernels.push_back(paged.kernel.over(tiles, heads.num_kv_heads));
  }
}

}  // namespace millrace
