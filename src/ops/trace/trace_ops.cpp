// The cost of each op, from the shapes of its arguments.
#include "ops/trace/trace_ops.h"

namespace millrace {

Tensor TraceOps::place(const Tensor& host) {
  Tensor placed = host;
  placed.data = nullptr;
  placed.dtype = precision().hidden;
  placed.device = device();
  return placed;
}

void TraceOps::prepare(Linear& linear) {
  linear.weight = place(linear.weight);
  linear.weight.dtype = precision().product;
  if (linear.bias) linear.bias = place(*linear.bias);
  linear.input = {.dtype = precision().product};
}

void TraceOps::run_embed(const Batch& batch, const EmbeddingTables& tables, const LayerNorm& norm,
                         const HiddenStates& out) {
  const int64_t row_bytes = out.residual.columns() * size_of(tables.word.dtype);
  const int64_t num_tables = 1 + (tables.position ? 1 : 0) + (tables.token_type ? 1 : 0);
  traced_.push_back(
      {.name = "embed",
       .description = fmt::format("{} rows of {} tables", batch.num_tokens(), num_tables),
       .flops = out.residual.numel() * num_tables,
       .weight_bytes = batch.num_tokens() * num_tables * row_bytes + norm.weight.bytes() * 2,
       .activation_bytes = out.residual.bytes()});
}

void TraceOps::run_linear(const Activation& x, const Linear& linear, ActivationFunction f,
                          const Tensor& out) {
  const std::string function =
      f == ActivationFunction::kNone ? "" : fmt::format(" {}", to_string(f));
  traced_.push_back(
      {.name = "linear",
       .description =
           fmt::format("{} x {} {}{}", to_string(x.values.shape), to_string(linear.weight.shape),
                       to_string(x.values.dtype), function),
       .flops = 2 * x.values.numel() * linear.out_features(),
       .weight_bytes = linear.weight.bytes() + (linear.bias ? linear.bias->bytes() : 0),
       .activation_bytes = x.values.bytes() + out.bytes()});
}

void TraceOps::run_convert(const Tensor& x, const Tensor& out) {
  traced_.push_back({.name = "convert",
                     .description = fmt::format("{} to {}", to_string(x), to_string(out.dtype)),
                     .flops = x.numel(),
                     .activation_bytes = x.bytes() + out.bytes()});
}

void TraceOps::run_add_layer_norm(const HiddenStates& hidden, const Activation& delta,
                                  const LayerNorm& norm) {
  traced_.push_back({.name = "add_layer_norm",
                     .description = to_string(hidden.residual.shape),
                     .flops = hidden.residual.numel(),
                     .weight_bytes = norm.weight.bytes() + norm.bias.bytes(),
                     .activation_bytes = 2 * hidden.residual.bytes() + delta.values.bytes()});
}

void TraceOps::run_attention(const Tensor& qkv, const Batch& batch, const AttentionShape& shape,
                             const Tensor& out) {
  traced_.push_back(
      {.name = "attention",
       .description = fmt::format("{} sequences, {} heads of {}", batch.num_sequences(),
                                  shape.num_heads, shape.head_dim),
       .flops = 4 * batch.sum_squared_seq_len() * shape.num_heads * shape.head_dim,
       .activation_bytes = qkv.bytes() + out.bytes()});
}

void TraceOps::run_pool(const Tensor& hidden, const Batch& batch, PoolingMode mode,
                        const Tensor& out) {
  const Tensor& read = mode == PoolingMode::kMean ? hidden : out;
  traced_.push_back(
      {.name = "pool",
       .description = fmt::format("{} of {} sequences", to_string(mode), batch.num_sequences()),
       .flops = read.numel(),
       .activation_bytes = read.bytes() + out.bytes()});
}

void TraceOps::run_normalize_rows(const Tensor& out) {
  traced_.push_back({.name = "normalize_rows",
                     .description = to_string(out.shape),
                     .flops = 3 * out.numel(),
                     .activation_bytes = 2 * out.bytes()});
}

}  // namespace millrace
