// DenseOps: weights, products, norms and embeddings.
//
// As in every family of ops, the public functions check shapes and allocate outputs from the arena,
// once for all backends; a backend implements the run_* functions, which trust their arguments.
#pragma once

#include "config/model_config.h"
#include "ops/batch.h"
#include "ops/linear.h"
#include "ops/ops_context.h"

namespace millrace {

// Indices come from tokenizers and clients; a kernel would read wherever they point. Refuses those
// beyond the tables' rows.
void check_indices(const Batch& batch, const EmbeddingTables& tables);

class DenseOps : public virtual OpsContext {
 public:
  // --- parameters, at load -----------------------------------------------------------------------

  // A host tensor of any float dtype as a device tensor of the hidden dtype. The result may be a
  // view of `host`, which must then live as long. Tensors without values stay so.
  virtual Tensor place(const Tensor& host) = 0;

  // Brings the weight into the layout of the backend's kernels and says what input it wants.
  // Weight and bias are host tensors and need not outlive the call.
  virtual void prepare(Linear& linear) = 0;

  // After the last parameter, before the first step.
  virtual void finish_loading() {}

  // --- a step ------------------------------------------------------------------------------------

  // normed = residual = LN(word[token] + position[p] + token_type[t]).
  HiddenStates embed(const Batch& batch, const EmbeddingTables& tables, const LayerNorm& norm,
                     const ActivationFormat& consumer);

  // f(x * weight^T + bias) as [rows, out_features] in the format of its consumer.
  Activation linear(const Activation& x, const Linear& linear, ActivationFunction f,
                    const ActivationFormat& consumer);

  // The same without function, in the hidden dtype.
  Activation linear(const Activation& x, const Linear& linear);

  // Rows in the format of the Linear that consumes them; `x` itself when it already has it.
  Activation as_input(const Tensor& x, const ActivationFormat& consumer);

  // residual = LN(residual + delta), and the same as normed: the post-norm residual step.
  void add_layer_norm(HiddenStates& hidden, const Activation& delta, const LayerNorm& norm);

  // The hidden dtype as a format.
  ActivationFormat hidden_format() const { return {.dtype = precision().hidden}; }

 private:
  virtual void run_embed(const Batch& batch, const EmbeddingTables& tables, const LayerNorm& norm,
                         const HiddenStates& out) = 0;
  virtual void run_linear(const Activation& x, const Linear& linear, ActivationFunction f,
                          const Tensor& out) = 0;
  virtual void run_convert(const Tensor& x, const Tensor& out) = 0;
  virtual void run_add_layer_norm(const HiddenStates& hidden, const Activation& delta,
                                  const LayerNorm& norm) = 0;
};

}  // namespace millrace
