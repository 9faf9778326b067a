// Layers, cache groups and the head, by name.
#include "models/decoder.h"

#include <algorithm>

#include "layers/rope.h"

namespace millrace {

namespace {

class Composer {
 public:
  Composer(const ModelConfig& config, const DecoderNames& names)
      : c_(config), d_(*config.decoder), names_(names) {}

  DecoderModel compose(const Params& p) {
    const Params inner = p / "model";
    const Shape table{c_.vocab_size, c_.hidden_size};
    DecoderModel model{.embedding = (inner / names_.embedding).table("weight", table),
                       .hidden_act = c_.hidden_act,
                       .embedding_scale = d_.embedding_scale,
                       .attention_scale = d_.attention_scale,
                       .attention_soft_cap = d_.attention_soft_cap,
                       .residual_scale = d_.residual_scale,
                       .logits_scale = d_.logits_scale,
                       .logits_soft_cap = d_.logits_soft_cap};
    for (const RopeConfig& rope : d_.ropes)
      model.ropes.push_back(make_rope(rope, c_.max_input_tokens));
    const Params layers = inner / "layers";
    for (size_t i = 0; i < d_.layers.size(); ++i)
      add_layer(model, layers / std::to_string(i), d_.layers[i]);
    model.norm = norm(inner, "norm");
    model.lm_head = d_.tie_word_embeddings
                        ? (inner / names_.embedding).tied_linear("weight", table)
                        : p.linear(names_.lm_head, c_.vocab_size, c_.hidden_size, Bias::kNo);
    return model;
  }

 private:
  RmsNorm norm(const Params& p, std::string_view name) const {
    return p.rms_norm(name, c_.hidden_size, c_.norm_eps, names_.norm_offset);
  }
  std::optional<RmsNorm> optional_norm(const Params& p, std::string_view name) const {
    return name.empty() ? std::nullopt : std::optional(norm(p, name));
  }

  void add_layer(DecoderModel& model, const Params& p, const DecoderLayerConfig& layer) const {
    if (layer.num_kv_heads > 0) {
      DecoderAttention attention = attention_of(p / names_.attention, layer);
      attention.kv_layer = model.kv.layers.size();
      model.kv.layers.push_back({.group = group_of(model.kv, layer.window),
                                 .num_kv_heads = layer.num_kv_heads,
                                 .head_dim = c_.head_dim});
      model.blocks.push_back({.norm = norm(p, names_.attention_norm),
                              .body = std::move(attention),
                              .post_norm = optional_norm(p, names_.attention_post_norm)});
    }
    if (layer.intermediate_size > 0) {
      model.blocks.push_back({.norm = norm(p, names_.mlp_norm),
                              .body = mlp_of(p / names_.mlp, layer.intermediate_size),
                              .post_norm = optional_norm(p, names_.mlp_post_norm)});
    }
  }

  static size_t group_of(KvCacheSpec& spec, int64_t window) {
    const KvGroupSpec group{.window = window};
    const auto found = std::ranges::find(spec.groups, group);
    if (found != spec.groups.end()) return static_cast<size_t>(found - spec.groups.begin());
    spec.groups.push_back(group);
    return spec.groups.size() - 1;
  }

  DecoderAttention attention_of(const Params& p, const DecoderLayerConfig& layer) const {
    const HeadLayout heads{
        .num_heads = c_.num_heads, .num_kv_heads = layer.num_kv_heads, .head_dim = c_.head_dim};
    const Bias out_bias = d_.attention_out_bias ? Bias::kYes : Bias::kNo;
    DecoderAttention attention{
        .qkv = qkv_of(p, heads),
        .out = p.linear(names_.attention_out, c_.hidden_size, heads.q_width(), out_bias),
        .heads = heads,
        .rope = layer.rope};
    if (d_.qk_norm) {
      attention.q_norm = p.rms_norm("q_norm", c_.head_dim, c_.norm_eps, names_.norm_offset);
      attention.k_norm = p.rms_norm("k_norm", c_.head_dim, c_.norm_eps, names_.norm_offset);
    }
    return attention;
  }

  Linear qkv_of(const Params& p, const HeadLayout& heads) const {
    const Bias bias = d_.qkv_bias ? Bias::kYes : Bias::kNo;
    const int64_t kv_width = heads.num_kv_heads * heads.head_dim;
    if (names_.qkv == QkvLayout::kFused)
      return p.linear(names_.qkv_name, heads.width(), c_.hidden_size, bias);
    if (names_.qkv == QkvLayout::kSeparate) {
      return p.merged_linear(
          "qkv_proj", {{"q_proj", heads.q_width()}, {"k_proj", kv_width}, {"v_proj", kv_width}},
          c_.hidden_size, bias);
    }
    const int64_t q_rows = heads.q_width() / heads.num_kv_heads;
    const int64_t group_rows = q_rows + 2 * heads.head_dim;
    std::vector<RowRange> order;
    const auto take = [&](int64_t first, int64_t rows) {
      for (int64_t group = 0; group < heads.num_kv_heads; ++group)
        order.push_back({group * group_rows + first, group * group_rows + first + rows});
    };
    take(0, q_rows);
    take(q_rows, heads.head_dim);
    take(q_rows + heads.head_dim, heads.head_dim);
    return p.reordered_linear("qkv_proj", names_.qkv_name, order, c_.hidden_size, bias);
  }

  GatedMlp mlp_of(const Params& p, int64_t width) const {
    const Bias bias = d_.mlp_bias ? Bias::kYes : Bias::kNo;
    const std::vector<LinearPart> parts = {{std::string(names_.gate), width},
                                           {std::string(names_.up), width}};
    return {.gate_up = names_.fused_gate_up
                           ? p.linear("gate_up_proj", 2 * width, c_.hidden_size, bias)
                           : p.merged_linear("gate_up_proj", parts, c_.hidden_size, bias),
            .down = p.linear(names_.down, c_.hidden_size, width, bias)};
  }

  const ModelConfig& c_;
  const DecoderConfig& d_;
  const DecoderNames& names_;
};

}  // namespace

DecoderModel compose_decoder(const Params& params, const ModelConfig& config,
                             const DecoderNames& names) {
  return Composer(config, names).compose(params);
}

}  // namespace millrace
