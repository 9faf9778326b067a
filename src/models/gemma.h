// Gemma 2 and the text model of Gemma 3.
// Architecture: https://arxiv.org/abs/2408.00118, https://arxiv.org/abs/2503.19786; tensor names:
// transformers.
#pragma once

#include <memory>

#include "layers/model.h"
#include "layers/params.h"

namespace millrace {

std::unique_ptr<Model> make_gemma(const Params& params, const ModelConfig& config);

}  // namespace millrace
