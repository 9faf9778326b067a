// Fuzzes the reader of Hugging Face's config files: the input is up to four of them, with zero
// bytes between: config.json, modules.json, 1_Pooling/config.json, sentence_bert_config.json.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "config/model_config.h"

using namespace millrace;

namespace {

void check_decoder(const ModelConfig& config, const DecoderConfig& decoder) {
  CHECK(static_cast<int64_t>(decoder.layers.size()) == config.num_layers);
  CHECK(0 < config.head_dim && config.head_dim <= 256 && !decoder.ropes.empty());
  for (const DecoderLayerConfig& layer : decoder.layers) {
    CHECK(layer.num_kv_heads >= 0 && layer.intermediate_size >= 0 && layer.window >= 0);
    CHECK(layer.num_kv_heads == 0 || config.num_heads % layer.num_kv_heads == 0);
    CHECK(layer.rope < decoder.ropes.size());
  }
  for (const RopeConfig& rope : decoder.ropes) {
    CHECK(rope.theta > 1 && rope.rotary_dim % 2 == 0);
    CHECK(0 < rope.rotary_dim && rope.rotary_dim <= config.head_dim);
    const auto factors = rope.scaling == RopeScaling::kLongRope ? rope.rotary_dim / 2 : 0;
    CHECK(static_cast<int64_t>(rope.short_factor.size()) == factors);
    CHECK(static_cast<int64_t>(rope.long_factor.size()) == factors);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  ConfigTexts texts;
  for (const char* name :
       {"config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"}) {
    const size_t zero = rest.find('\0');
    if (zero != 0 && !rest.empty()) texts.emplace(name, rest.substr(0, zero));
    rest = zero == std::string_view::npos ? std::string_view() : rest.substr(zero + 1);
  }
  ModelConfig config;
  try {
    config = ModelConfig::from_hf(texts, "input");
  } catch (const Error&) {
    return 0;
  }
  CHECK(config.vocab_size > 0 && config.hidden_size > 0);
  if (config.decoder) {
    check_decoder(config, *config.decoder);
  } else {
    CHECK(config.head_dim * config.num_heads == config.hidden_size);
    CHECK(config.type_vocab_size > 0 && config.intermediate_size > 0);
  }
  CHECK(0 < config.max_input_tokens && config.max_input_tokens <= config.max_position_embeddings);
  CHECK(config.norm_eps > 0 && config.norm_eps <= 1);
  CHECK(config.is_classifier() == config.architecture.ends_with("ForSequenceClassification"));
  return 0;
}
