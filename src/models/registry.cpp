// One row a supported architecture.
#include "models/registry.h"

#include "base/error.h"
#include "config/decoder_config.h"
#include "models/bert.h"
#include "models/gemma.h"
#include "models/internlm2.h"
#include "models/llama.h"
#include "models/phi3.h"

namespace millrace {

namespace {

// A head that is tied to the embedding, and a buffer of old checkpoints.
const std::vector<std::string> kDecoderIgnorable = {"lm_head.weight", "*.rotary_emb.inv_freq"};

}  // namespace

const std::vector<ModelEntry>& model_registry() {
  static const std::vector<ModelEntry> entries = {
      // Sentence encoders are often saved from a pre-training class: the encoder is the same.
      {.architectures = {"BertModel", "BertForPreTraining", "BertForMaskedLM"},
       .make = make_bert_model,
       // Buffers of old checkpoints, the pooler that sentence vectors do not use, pre-training
       // heads.
       .ignorable = {"embeddings.position_ids", "bert.embeddings.position_ids", "pooler.",
                     "bert.pooler.", "cls."}},
      {.architectures = {"BertForSequenceClassification"},
       .make = make_bert_for_sequence_classification,
       .ignorable = {"bert.embeddings.position_ids"}},
      {.architectures = {"LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM",
                         "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GraniteForCausalLM",
                         "DeciLMForCausalLM", "InternLMForCausalLM", "AquilaForCausalLM",
                         "XverseForCausalLM", "PalmyraForCausalLM", "Palmyra4ForCausalLM"},
       .make = make_llama,
       .ignorable = kDecoderIgnorable},
      {.architectures = {"Gemma2ForCausalLM", "Gemma3ForCausalLM"},
       .make = make_gemma,
       .ignorable = kDecoderIgnorable},
      {.architectures = {"Phi3ForCausalLM"}, .make = make_phi3, .ignorable = kDecoderIgnorable},
      {.architectures = {"InternLM2ForCausalLM"},
       .make = make_internlm2,
       .ignorable = {"output.weight", "*.rotary_emb.inv_freq"}},
  };
  return entries;
}

const ModelEntry& find_model(const std::string& architecture) {
  std::string names;
  for (const ModelEntry& entry : model_registry()) {
    for (const std::string& name : entry.architectures) {
      if (name == architecture) return entry;
      names += (names.empty() ? "" : ", ") + name;
    }
  }
  static const ModelEntry assumed = {
      .make = make_assumed_llama, .ignorable = kDecoderIgnorable, .assumed = true};
  if (is_decoder_architecture(architecture)) return assumed;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("architecture {} is not supported; supported: {}", architecture, names),
              "docs/adding_a_model.md says how one is added");
}

}  // namespace millrace
