// EncoderModel: embeddings and a stack of post-norm, bidirectional transformer layers.
#pragma once

#include <vector>

#include "ops/ops.h"

namespace millrace {

// x = LN(x + attention(x)); x = LN(x + down(f(up(x)))).
struct EncoderLayer {
  Linear qkv;            // [3 * hidden, hidden]
  Linear attention_out;  // [hidden, hidden]
  LayerNorm attention_norm;
  Linear up;    // [intermediate, hidden]
  Linear down;  // [hidden, intermediate]
  LayerNorm output_norm;
};

// Aggregate of weights; composed by a file of src/models.
struct EncoderModel {
  EmbeddingTables tables;
  LayerNorm embedding_norm;
  std::vector<EncoderLayer> layers;
  AttentionShape attention;
  ActivationFunction hidden_act = ActivationFunction::kGelu;

  HiddenStates forward(Ops& ops, const Batch& batch) const;
};

}  // namespace millrace
