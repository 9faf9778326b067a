// Shape checks and outputs of the row-wise ops of decoders.
#include "ops/decoder_ops.h"

#include "tensor/shape_matcher.h"

namespace millrace {

void check_token_ids(const Batch& batch, int64_t num_rows, int64_t num_sampled) {
  for (const int32_t id : batch.token_ids)
    CHECK(id >= 0 ? id < num_rows : ~id < num_sampled,
          "embed_tokens: token {} of {} and {} sampled ones", id, num_rows, num_sampled);
}

Tensor DecoderOps::embed_tokens(const Batch& batch, const Tensor& table, float scale) {
  ShapeMatcher match("embed_tokens", device());
  match.match("table", table, {"vocab", "hidden"});
  check_token_ids(batch, table.rows(), num_sampled());
  const Tensor out = arena().allocate(precision().hidden, {batch.num_tokens(), match["hidden"]});
  run_embed_tokens(batch, table, scale, out);
  return out;
}

Activation DecoderOps::rms_norm(const Tensor& x, const RmsNorm& norm,
                                const ActivationFormat& consumer) {
  ShapeMatcher match("rms_norm", device());
  match.match("x", x, {"rows", "features"}).match("weight", norm.weight, {"features"});
  CHECK(x.dtype == precision().hidden, "rms_norm: x is {}", to_string(x));
  const Activation out = {.values = arena().allocate(consumer.dtype, x.shape), .format = consumer};
  run_rms_norm(x, norm, out.values);
  return out;
}

void DecoderOps::add_rms_norm(HiddenStates& hidden, const Activation& delta, const ResidualAdd& add,
                              const RmsNorm& norm) {
  ShapeMatcher match("add_rms_norm", device());
  match.match("residual", hidden.residual, {"rows", "hidden"})
      .match("normed", hidden.normed.values, {"rows", "hidden"})
      .match("delta", delta.values, {"rows", "hidden"})
      .match("weight", norm.weight, {"hidden"});
  if (add.norm) match.match("delta's weight", add.norm->weight, {"hidden"});
  CHECK(delta.values.dtype == precision().hidden, "add_rms_norm: delta is {}",
        to_string(delta.values));
  run_add_rms_norm(hidden, delta, add, norm);
}

Activation DecoderOps::act_and_mul(const Activation& gate_up, ActivationFunction f,
                                   const ActivationFormat& consumer) {
  const Tensor& x = gate_up.values;
  CHECK(x.shape.rank() == 2 && x.columns() % 2 == 0 && x.dtype == precision().hidden,
        "act_and_mul: {}", to_string(x));
  const Activation out = {.values = arena().allocate(consumer.dtype, {x.rows(), x.columns() / 2}),
                          .format = consumer};
  run_act_and_mul(x, f, out.values);
  return out;
}

Activation DecoderOps::gather_logits_rows(const Activation& x, const Batch& batch) {
  for (const int32_t row : batch.logits_rows)
    CHECK(row >= 0 && row < x.values.rows(), "gather_logits_rows: row {} of {}", row,
          x.values.rows());
  const Shape shape{static_cast<int64_t>(batch.logits_rows.size()), x.values.columns()};
  const Activation out = {.values = arena().allocate(x.values.dtype, shape), .format = x.format};
  run_gather_logits_rows(x.values, batch, out.values);
  return out;
}

void DecoderOps::scale_and_cap(const Tensor& out, float scale, float soft_cap) {
  CHECK(out.dtype == DType::kF32 && out.shape.rank() == 2, "scale_and_cap: {}", to_string(out));
  if (scale != 1.0f || soft_cap != 0.0f) run_scale_and_cap(out, scale, soft_cap);
}

}  // namespace millrace
