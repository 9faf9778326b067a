// Llama's names are the defaults.
#include "models/llama.h"

#include "models/decoder.h"

namespace millrace {

std::unique_ptr<Model> make_llama(const Params& params, const ModelConfig& config) {
  return make_text_generator(compose_decoder(params, config, {}));
}

std::unique_ptr<Model> make_assumed_llama(const Params& params, const ModelConfig& config) {
  ModelConfig found = config;
  DecoderConfig& decoder = *found.decoder;
  const Params layer = params / "model" / "layers" / "0";
  const Params attention = layer / "self_attn";
  const Params mlp = layer / "mlp";
  decoder.qkv_bias |= attention.has("q_proj.bias") || attention.has("qkv_proj.bias");
  decoder.attention_out_bias |= attention.has("o_proj.bias");
  decoder.mlp_bias |= mlp.has("down_proj.bias");
  decoder.qk_norm |= attention.has("q_norm");
  const DecoderNames names{
      .qkv = attention.has("qkv_proj") ? QkvLayout::kFused : QkvLayout::kSeparate,
      .fused_gate_up = mlp.has("gate_up_proj")};
  return make_text_generator(compose_decoder(params, found, names));
}

}  // namespace millrace
