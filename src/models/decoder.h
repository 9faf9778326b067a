// What decoders share: from a config and the names of its tensors to a DecoderModel.
#pragma once

#include <memory>
#include <string_view>

#include "layers/decoder_model.h"
#include "layers/params.h"

namespace millrace {

enum class QkvLayout : uint8_t {
  kSeparate,  // q_proj, k_proj, v_proj
  kFused,     // one weight: all queries, all keys, all values
  kGrouped,   // one weight: for each key head its queries, its key, its value
};

// How a checkpoint names its tensors, and lays them out; as Llama does unless said.
struct DecoderNames {
  std::string_view embedding = "embed_tokens";
  std::string_view lm_head = "lm_head";

  std::string_view attention = "self_attn";
  QkvLayout qkv = QkvLayout::kSeparate;
  std::string_view qkv_name = "qkv_proj";  // where it is one weight
  std::string_view attention_out = "o_proj";

  std::string_view mlp = "mlp";
  bool fused_gate_up = false;  // gate_up_proj
  std::string_view gate = "gate_proj";
  std::string_view up = "up_proj";
  std::string_view down = "down_proj";

  std::string_view attention_norm = "input_layernorm";
  std::string_view attention_post_norm;  // empty: there is none
  std::string_view mlp_norm = "post_attention_layernorm";
  std::string_view mlp_post_norm;
  float norm_offset = 0.0f;  // added to the weights of norms
};

DecoderModel compose_decoder(const Params& params, const ModelConfig& config,
                             const DecoderNames& names);

}  // namespace millrace
