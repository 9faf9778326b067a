// Llama and the models of its shape: the differences between them are numbers of the config.
// Architecture: Touvron et al. 2023, https://arxiv.org/abs/2307.09288; tensor names: transformers.
#pragma once

#include <memory>

#include "layers/model.h"
#include "layers/params.h"

namespace millrace {

// Llama, Mistral, Qwen2, Qwen3, Granite, DeciLM, InternLM, Aquila, Xverse, Palmyra.
std::unique_ptr<Model> make_llama(const Params& params, const ModelConfig& config);

// A decoder of a name that nobody has told us, taken for a Llama: the source's tensors say whether
// there are biases and norms of queries and keys, and whether projections are fused.
std::unique_ptr<Model> make_assumed_llama(const Params& params, const ModelConfig& config);

}  // namespace millrace
