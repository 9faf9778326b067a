// The cost of each op, from the shapes of its arguments, and what it launches on a GPU.
#include "ops/trace/trace_ops.h"

#include "kernels/cuda/sampling_choice.h"
#include "ops/cuda_choice.h"

namespace millrace {

Tensor TraceOps::place(const Tensor& host) {
  return place_as(host, precision().hidden);
}

Tensor TraceOps::place_as(const Tensor& host, DType dtype) {
  const Tensor placed = weights_.allocate(dtype, host.shape);
  if (arch_ && host.dtype != dtype) {
    const TracedOp op = {.name = "place",
                         .kernels = {cuda::convert_kernel(host.dtype, dtype, 1, 1)}};
    traced_.push_back(op);
  }
  return placed;
}

void TraceOps::prepare(Linear& linear) {
  linear.weight = place_as(linear.weight, precision().product);
  if (linear.bias) {
    linear.bias = place(*linear.bias);
    if (arch_ && precision().hidden != DType::kF32)
      place_as(*linear.bias, DType::kF32);  // for results in F32
  }
  linear.input = {.dtype = precision().product};
}

void TraceOps::run_embed(const Batch& batch, const EmbeddingTables& tables, const LayerNorm& norm,
                         const HiddenStates& out) {
  const Tensor& rows = out.residual;
  const int64_t row_bytes = rows.columns() * size_of(tables.word.dtype);
  const int64_t num_tables = 1 + (tables.position ? 1 : 0) + (tables.token_type ? 1 : 0);
  TracedOp& op =
      note({.name = "embed",
            .description = fmt::format("{} rows of {} tables", batch.num_tokens(), num_tables),
            .flops = rows.numel() * num_tables,
            .weight_bytes = batch.num_tokens() * num_tables * row_bytes + norm.weight.bytes() * 2,
            .activation_bytes = rows.bytes()});
  if (arch_) op.kernels = {cuda::embed_kernel(rows.dtype, rows.rows(), rows.columns())};
}

void TraceOps::run_linear(const Activation& x, const Linear& linear, ActivationFunction f,
                          const Tensor& out) {
  const std::string function =
      f == ActivationFunction::kNone ? "" : fmt::format(" {}", to_string(f));
  TracedOp& op =
      note({.name = "linear",
            .description =
                fmt::format("{} x {} {}{}", to_string(x.values.shape),
                            to_string(linear.weight.shape), to_string(x.values.dtype), function),
            .flops = 2 * x.values.numel() * linear.out_features(),
            .weight_bytes = linear.weight.bytes() + (linear.bias ? linear.bias->bytes() : 0),
            .activation_bytes = x.values.bytes() + out.bytes()});
  if (!arch_) return;
  if (const auto kernel = activation_kernel(f, out.dtype, out.rows())) op.kernels = {*kernel};
}

void TraceOps::run_convert(const Tensor& x, const Tensor& out) {
  TracedOp& op = note({.name = "convert",
                       .description = fmt::format("{} to {}", to_string(x), to_string(out.dtype)),
                       .flops = x.numel(),
                       .activation_bytes = x.bytes() + out.bytes()});
  if (arch_) op.kernels = {cuda::convert_kernel(x.dtype, out.dtype, x.rows(), x.columns())};
}

void TraceOps::run_add_layer_norm(const HiddenStates& hidden, const Activation& delta,
                                  const LayerNorm& norm) {
  const Tensor& rows = hidden.residual;
  TracedOp& op = note({.name = "add_layer_norm",
                       .description = to_string(rows.shape),
                       .flops = rows.numel(),
                       .weight_bytes = norm.weight.bytes() + norm.bias.bytes(),
                       .activation_bytes = 2 * rows.bytes() + delta.values.bytes()});
  if (arch_) op.kernels = {cuda::add_layer_norm_kernel(rows.dtype, rows.rows(), rows.columns())};
}

void TraceOps::run_attention(const Tensor& qkv, const Batch& batch, const AttentionShape& shape,
                             const Tensor& out) {
  TracedOp& op =
      note({.name = "attention",
            .description = fmt::format("{} sequences, {} heads of {}", batch.num_sequences(),
                                       shape.num_heads, shape.head_dim),
            .flops = 4 * batch.sum_squared_seq_len() * shape.num_heads * shape.head_dim,
            .activation_bytes = qkv.bytes() + out.bytes()});
  if (!arch_) return;
  const cuda::AttentionKernel kernel =
      cuda::attention_kernel(qkv.dtype, shape.head_dim, qkv.row_stride, *arch_);
  const auto tiles = attention_tiles(batch, kernel.tile_rows, kernel.packs);
  op.kernels = {kernel.over(static_cast<int64_t>(tiles.size()), shape.num_heads)};
}

void TraceOps::run_pool(const Tensor& hidden, const Batch& batch, PoolingMode mode,
                        const Tensor& out) {
  const Tensor& read = mode == PoolingMode::kMean ? hidden : out;
  TracedOp& op = note(
      {.name = "pool",
       .description = fmt::format("{} of {} sequences", to_string(mode), batch.num_sequences()),
       .flops = read.numel(),
       .activation_bytes = read.bytes() + out.bytes()});
  if (arch_) op.kernels = {cuda::pool_kernel(hidden.dtype, out.rows(), out.columns())};
}

void TraceOps::run_normalize_rows(const Tensor& out) {
  TracedOp& op = note({.name = "normalize_rows",
                       .description = to_string(out.shape),
                       .flops = 3 * out.numel(),
                       .activation_bytes = 2 * out.bytes()});
  if (arch_) op.kernels = {cuda::normalize_kernel(out.rows())};
}

// At least each row that is drawn from is read once.
void TraceOps::run_sample(const Tensor& logits, const SamplingBatch& batch,
                          const SampledTokens& /*out*/) {
  const int64_t count = batch.num_rows() * logits.columns();
  TracedOp& op =
      note({.name = "sample",
            .description = fmt::format("{} of {}", batch.num_rows(), to_string(logits.shape)),
            .flops = count,
            .activation_bytes = count * size_of(logits.dtype)});
  if (arch_) {  // which rows go to which depends on their parameters
    op.kernels = {cuda::sample_kernel(batch.num_rows(), logits.columns()),
                  cuda::greedy_kernel(batch.num_rows(), logits.columns())};
  }
}

TracedOp& TraceOps::note(TracedOp op) {
  return traced_.emplace_back(std::move(op));
}

}  // namespace millrace
