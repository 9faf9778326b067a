// One row a supported architecture.
#include "models/registry.h"

#include "base/error.h"
#include "models/bert.h"

namespace millrace {

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
  throw Error(ErrorCode::kUnsupported,
              fmt::format("architecture {} is not supported; supported: {}", architecture, names),
              "docs/adding_a_model.md says how one is added");
}

}  // namespace millrace
