// DecoderModel: embedding, a residual stream with attention and MLP blocks before it, and a head.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "layers/model.h"
#include "ops/ops.h"

namespace millrace {

struct DecoderAttention {
  Linear qkv;                             // [(num_heads + 2 * num_kv_heads) * head_dim, hidden]
  std::optional<RmsNorm> q_norm, k_norm;  // [head_dim]
  Linear out;                             // [hidden, num_heads * head_dim]
  HeadLayout heads;
  size_t kv_layer = 0;  // index into the spec of the cache
  size_t rope = 0;      // index into DecoderModel::ropes
};

// down(f(gate(x)) * up(x)).
struct GatedMlp {
  Linear gate_up;  // [2 * intermediate, hidden]: gate before up
  Linear down;     // [hidden, intermediate]
};

// x += residual_scale * post_norm(block(norm(x))). A layer is two of them, or fewer where a model
// skips some.
struct DecoderBlock {
  RmsNorm norm;
  std::variant<DecoderAttention, GatedMlp> body;
  std::optional<RmsNorm> post_norm;
};

// Aggregate of weights; composed by a file of src/models.
struct DecoderModel {
  Tensor embedding;  // [vocab, hidden], as place_table() left it
  std::vector<DecoderBlock> blocks;
  RmsNorm norm;
  Linear lm_head;  // [vocab, hidden]
  std::vector<Rope> ropes;
  KvCacheSpec kv;
  ActivationFunction hidden_act = ActivationFunction::kSilu;
  float embedding_scale = 1.0f;
  float attention_scale = 1.0f;
  float attention_soft_cap = 0.0f;
  float residual_scale = 1.0f;
  float logits_scale = 1.0f;
  float logits_soft_cap = 0.0f;

  // hidden: the normalised rows; logits: of batch.logits_rows.
  Output forward(Ops& ops, const Batch& batch) const;

 private:
  Activation forward(const DecoderAttention& block, Ops& ops, const Batch& batch,
                     const Activation& x, const std::vector<Tensor>& angles) const;
  Activation forward(const GatedMlp& block, Ops& ops, const Activation& x) const;
};

std::unique_ptr<Model> make_text_generator(DecoderModel decoder);

}  // namespace millrace
