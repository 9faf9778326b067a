// Shape checks and outputs of the dense ops.
#include "ops/dense_ops.h"

#include <algorithm>

#include "tensor/shape_matcher.h"

namespace millrace {

namespace {

void check_indices(std::string_view name, const std::vector<int32_t>& indices,
                   const Tensor& table) {
  uint32_t greatest = 0;  // of negative ones too
  for (const int32_t index : indices) greatest = std::max(greatest, static_cast<uint32_t>(index));
  CHECK(greatest < table.rows(), "embed: {} {} of a table of {} rows", name,
        static_cast<int32_t>(greatest), table.rows());
}

}  // namespace

void check_indices(const Batch& batch, const EmbeddingTables& tables) {
  check_indices("word", batch.token_ids, tables.word);
  if (tables.position) check_indices("position", batch.position_ids, *tables.position);
  if (tables.token_type) check_indices("token_type", batch.token_type_ids, *tables.token_type);
}

HiddenStates DenseOps::embed(const Batch& batch, const EmbeddingTables& tables,
                             const LayerNorm& norm, const ActivationFormat& consumer) {
  ShapeMatcher match("embed", device());
  match.match("word", tables.word, {"vocab", "hidden"});
  if (tables.position) match.match("position", *tables.position, {"positions", "hidden"});
  if (tables.token_type) match.match("token_type", *tables.token_type, {"types", "hidden"});
  match.match("weight", norm.weight, {"hidden"}).match("bias", norm.bias, {"hidden"});
  check_indices(batch, tables);
  const Shape shape{batch.num_tokens(), match["hidden"]};
  HiddenStates out;
  out.residual = arena().allocate(precision().hidden, shape);
  out.normed.format = consumer;
  out.normed.values =
      consumer.dtype == precision().hidden ? out.residual : arena().allocate(consumer.dtype, shape);
  run_embed(batch, tables, norm, out);
  return out;
}

Activation DenseOps::linear(const Activation& x, const Linear& linear, ActivationFunction f,
                            const ActivationFormat& consumer) {
  ShapeMatcher match("linear", device());
  match.match("x", x.values, {"rows", linear.in_features()});
  CHECK(x.format == linear.input, "linear: x is {}, the weight wants {}", to_string(x.values.dtype),
        to_string(linear.input.dtype));
  const Activation out = {
      .values = arena().allocate(consumer.dtype, {match["rows"], linear.out_features()}),
      .format = consumer};
  run_linear(x, linear, f, out.values);
  return out;
}

Activation DenseOps::linear(const Activation& x, const Linear& weight) {
  return linear(x, weight, ActivationFunction::kNone, hidden_format());
}

Activation DenseOps::as_input(const Tensor& x, const ActivationFormat& consumer) {
  if (x.dtype == consumer.dtype) return {.values = x, .format = consumer};
  const Activation out = {.values = arena().allocate(consumer.dtype, x.shape), .format = consumer};
  run_convert(x, out.values);
  return out;
}

void DenseOps::add_layer_norm(HiddenStates& hidden, const Activation& delta,
                              const LayerNorm& norm) {
  ShapeMatcher match("add_layer_norm", device());
  match.match("residual", hidden.residual, {"rows", "hidden"})
      .match("normed", hidden.normed.values, {"rows", "hidden"})
      .match("delta", delta.values, {"rows", "hidden"})
      .match("weight", norm.weight, {"hidden"})
      .match("bias", norm.bias, {"hidden"});
  CHECK(delta.format == hidden_format(), "add_layer_norm: delta is {}", to_string(delta.values));
  run_add_layer_norm(hidden, delta, norm);
}

}  // namespace millrace
