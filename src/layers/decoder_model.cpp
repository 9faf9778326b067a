// The forward pass of a pre-norm decoder.
#include "layers/decoder_model.h"

namespace millrace {

namespace {

class TextGenerator : public Model {
 public:
  explicit TextGenerator(DecoderModel decoder) : decoder_(std::move(decoder)) {}

  Output forward(Ops& ops, const Batch& batch) const override {
    return decoder_.forward(ops, batch);
  }
  const KvCacheSpec& kv_cache_spec() const override { return decoder_.kv; }

 private:
  DecoderModel decoder_;
};

}  // namespace

Activation DecoderModel::forward(const DecoderAttention& block, Ops& ops, const Batch& batch,
                                 const Activation& x, const std::vector<Tensor>& angles) const {
  const Activation qkv = ops.linear(x, block.qkv);
  ops.rope_and_write_kv(qkv.values, batch, block.kv_layer, block.heads, ropes[block.rope],
                        angles[block.rope], block.q_norm ? &*block.q_norm : nullptr,
                        block.k_norm ? &*block.k_norm : nullptr);
  const CausalAttention attention{
      .heads = block.heads, .scale = attention_scale, .soft_cap = attention_soft_cap};
  return ops.linear(
      ops.paged_attention(qkv.values, batch, block.kv_layer, attention, block.out.input),
      block.out);
}

Activation DecoderModel::forward(const GatedMlp& block, Ops& ops, const Activation& x) const {
  const Activation gate_up = ops.linear(x, block.gate_up);
  return ops.linear(ops.act_and_mul(gate_up, hidden_act, block.down.input), block.down);
}

Output DecoderModel::forward(Ops& ops, const Batch& batch) const {
  HiddenStates hidden{.residual = ops.embed_tokens(batch, embedding, embedding_scale)};
  std::vector<Tensor> angles;
  for (const Rope& rope : ropes) angles.push_back(ops.rope_angles(batch, rope));
  const auto norm_of = [&](size_t i) -> const RmsNorm& {
    return i < blocks.size() ? blocks[i].norm : norm;
  };
  hidden.normed = ops.rms_norm(hidden.residual, norm_of(0), lm_head.input);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const DecoderBlock& block = blocks[i];
    const ArenaScope scope(ops.arena());
    const auto* attention = std::get_if<DecoderAttention>(&block.body);
    const Activation delta = attention
                                 ? forward(*attention, ops, batch, hidden.normed, angles)
                                 : forward(std::get<GatedMlp>(block.body), ops, hidden.normed);
    const ResidualAdd add{.scale = residual_scale,
                          .norm = block.post_norm ? &*block.post_norm : nullptr};
    ops.add_rms_norm(hidden, delta, add, norm_of(i + 1));
  }
  if (batch.logits_rows.empty()) return {.hidden = hidden.normed.values};  // a part of a prompt
  const Activation rows = ops.gather_logits_rows(hidden.normed, batch);
  const Tensor logits =
      ops.linear(rows, lm_head, ActivationFunction::kNone, {.dtype = DType::kF32}).values;
  ops.scale_and_cap(logits, logits_scale, logits_soft_cap);
  return {.hidden = hidden.normed.values, .logits = logits};
}

std::unique_ptr<Model> make_text_generator(DecoderModel decoder) {
  return std::make_unique<TextGenerator>(std::move(decoder));
}

}  // namespace millrace
