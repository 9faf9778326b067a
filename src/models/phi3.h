// Phi-3 and Phi-4. Architecture: https://arxiv.org/abs/2404.14219; tensor names: transformers.
#pragma once

#include <memory>

#include "layers/model.h"
#include "layers/params.h"

namespace millrace {

std::unique_ptr<Model> make_phi3(const Params& params, const ModelConfig& config);

}  // namespace millrace
