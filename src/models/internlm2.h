// InternLM2. Architecture: https://arxiv.org/abs/2403.17297; tensor names: the code beside its
// checkpoints.
#pragma once

#include <memory>

#include "layers/model.h"
#include "layers/params.h"

namespace millrace {

std::unique_ptr<Model> make_internlm2(const Params& params, const ModelConfig& config);

}  // namespace millrace
