// The part of a Hugging Face config that describes a decoder, in the spellings before and since
// transformers 5. For model_config.cpp.
#pragma once

#include "config/model_config.h"

namespace millrace {

namespace json {
class Reader;
}

// Reads all but architecture, model_type and dtype. Throws Error{kCorrupt, kUnsupported}.
void read_decoder(const json::Reader& hf, ModelConfig& config);

// The function named by `name`, which stands under `key`. Throws Error{kUnsupported}.
ActivationFunction activation_function(const json::Reader& config, std::string_view key,
                                       const std::string& name);

}  // namespace millrace
