// Fuzzes the reader of Hugging Face's config files: the input is up to four of them, with zero
// bytes between: config.json, modules.json, 1_Pooling/config.json, sentence_bert_config.json.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "config/model_config.h"

using namespace millrace;

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
  CHECK(config.head_dim * config.num_heads == config.hidden_size);
  CHECK(config.vocab_size > 0 && config.type_vocab_size > 0 && config.intermediate_size > 0);
  CHECK(0 < config.max_input_tokens && config.max_input_tokens <= config.max_position_embeddings);
  CHECK(config.norm_eps > 0 && config.norm_eps <= 1);
  CHECK(config.is_classifier() == config.architecture.ends_with("ForSequenceClassification"));
  return 0;
}
