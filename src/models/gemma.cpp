// Four norms a layer, with weights around 0; the rest is in the config.
#include "models/gemma.h"

#include "models/decoder.h"

namespace millrace {

std::unique_ptr<Model> make_gemma(const Params& params, const ModelConfig& config) {
  return make_text_generator(compose_decoder(params, config,
                                             {.attention_post_norm = "post_attention_layernorm",
                                              .mlp_norm = "pre_feedforward_layernorm",
                                              .mlp_post_norm = "post_feedforward_layernorm",
                                              .norm_offset = 1.0f}));
}

}  // namespace millrace
