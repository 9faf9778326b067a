// BERT: BertModel as an embedder, BertForSequenceClassification as reranker and classifier.
// Architecture: Devlin et al. 2018, https://arxiv.org/abs/1810.04805; tensor names: transformers.
#pragma once

#include <memory>

#include "layers/model.h"
#include "layers/params.h"

namespace millrace {

std::unique_ptr<Model> make_bert_model(const Params& params, const ModelConfig& config);
std::unique_ptr<Model> make_bert_for_sequence_classification(const Params& params,
                                                             const ModelConfig& config);

}  // namespace millrace
