// DecoderOps: what decoders compute row by row beside their products.
#pragma once

#include "config/model_config.h"
#include "ops/batch.h"
#include "ops/linear.h"
#include "ops/ops_context.h"

namespace millrace {

// What becomes of a layer's output before it joins the residual stream.
struct ResidualAdd {
  float scale = 1.0f;
  const RmsNorm* norm = nullptr;  // of the output, before it is scaled
};

// Refuses ids that are neither a row of a table of `num_rows`, nor ~r of one of `num_sampled` rows.
void check_token_ids(const Batch& batch, int64_t num_rows, int64_t num_sampled);

class DecoderOps : public virtual OpsContext {
 public:
  // A table whose rows embed_tokens() looks up, kept as the device likes best; at load.
  virtual Tensor place_table(const Tensor& host) = 0;

  // scale * table[token], in the hidden dtype: [num_tokens, hidden].
  Tensor embed_tokens(const Batch& batch, const Tensor& table, float scale);

  Activation rms_norm(const Tensor& x, const RmsNorm& norm, const ActivationFormat& consumer);

  // residual += add.scale * add.norm(delta); normed = norm(residual), in place.
  void add_rms_norm(HiddenStates& hidden, const Activation& delta, const ResidualAdd& add,
                    const RmsNorm& norm);

  // f(gate) * up of rows that hold gate before up: [rows, columns / 2].
  Activation act_and_mul(const Activation& gate_up, ActivationFunction f,
                         const ActivationFormat& consumer);

  // The rows whose logits the batch wants: [logits_rows, columns].
  Activation gather_logits_rows(const Activation& x, const Batch& batch);

  // cap(scale * x) in place, cap(x) = c tanh(x / c) where `soft_cap` is c > 0; F32.
  void scale_and_cap(const Tensor& out, float scale, float soft_cap);

 private:
  virtual void run_embed_tokens(const Batch& batch, const Tensor& table, float scale,
                                const Tensor& out) = 0;
  virtual void run_rms_norm(const Tensor& x, const RmsNorm& norm, const Tensor& out) = 0;
  virtual void run_add_rms_norm(const HiddenStates& hidden, const Activation& delta,
                                const ResidualAdd& add, const RmsNorm& norm) = 0;
  virtual void run_act_and_mul(const Tensor& gate_up, ActivationFunction f, const Tensor& out) = 0;
  virtual void run_gather_logits_rows(const Tensor& x, const Batch& batch, const Tensor& out) = 0;
  virtual void run_scale_and_cap(const Tensor& out, float scale, float soft_cap) = 0;
};

}  // namespace millrace
