// The table of architectures that Millrace runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "layers/model.h"
#include "layers/params.h"

namespace millrace {

struct ModelEntry {
  std::vector<std::string> architectures;  // as config.json names it; the first is its own name
  std::unique_ptr<Model> (*make)(const Params&, const ModelConfig&) = nullptr;
  std::vector<std::string>
      ignorable;  // prefixes of checkpoint tensors that this model has no use for
};

const std::vector<ModelEntry>& model_registry();

// Throws Error{kUnsupported} that names the supported architectures.
const ModelEntry& find_model(const std::string& architecture);

}  // namespace millrace
