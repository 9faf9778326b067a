// A Llama whose projections are fused in the checkpoint.
#include "models/phi3.h"

#include "models/decoder.h"

namespace millrace {

std::unique_ptr<Model> make_phi3(const Params& params, const ModelConfig& config) {
  return make_text_generator(
      compose_decoder(params, config, {.qkv = QkvLayout::kFused, .fused_gate_up = true}));
}

}  // namespace millrace
