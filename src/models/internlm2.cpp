// A Llama under other names, whose projection of queries, keys and values goes group by group.
#include "models/internlm2.h"

#include "models/decoder.h"

namespace millrace {

std::unique_ptr<Model> make_internlm2(const Params& params, const ModelConfig& config) {
  return make_text_generator(compose_decoder(params, config,
                                             {.embedding = "tok_embeddings",
                                              .lm_head = "output",
                                              .attention = "attention",
                                              .qkv = QkvLayout::kGrouped,
                                              .qkv_name = "wqkv",
                                              .attention_out = "wo",
                                              .mlp = "feed_forward",
                                              .gate = "w1",
                                              .up = "w3",
                                              .down = "w2",
                                              .attention_norm = "attention_norm",
                                              .mlp_norm = "ffn_norm"}));
}

}  // namespace millrace
