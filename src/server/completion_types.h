// The request of completions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/generation_options.h"
#include "server/input.h"

namespace millrace {

struct CompletionRequest {
  GenerationOptions options;
  std::vector<Input> prompts;  // texts or token ids
  std::string suffix;          // what follows the text to be written; empty: nothing
};

// Throws RequestError naming the field.
CompletionRequest parse_completion_request(std::string_view body, const GenerationLimits& limits,
                                           const SamplingParams& defaults);

}  // namespace millrace
