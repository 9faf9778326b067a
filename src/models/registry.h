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
  // Checkpoint tensors that this model has no use for: prefixes, or suffixes after a "*".
  std::vector<std::string> ignorable;
  bool assumed = false;  // a decoder of an unknown name, taken for a Llama
};

const std::vector<ModelEntry>& model_registry();

// An unknown *ForCausalLM is found as an assumed one. Throws Error{kUnsupported} that names the
// supported architectures.
const ModelEntry& find_model(const std::string& architecture);

}  // namespace millrace
