// GenerationDefaults: what a checkpoint says about how it wants to be sampled, and where its texts
// end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/model_config.h"
#include "text/tokenizer.h"

namespace millrace {

// Absent: the file does not say, and SamplingParams' own defaults hold. `do_sample` is not looked
// at, as vLLM does not: a checkpoint that says nothing else is sampled at temperature 1.
struct GenerationDefaults {
  std::optional<float> temperature;
  std::optional<int64_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<int64_t> max_new_tokens;
  // After any of these a text ends: those of generation_config.json, config.json, and the eos_token
  // of tokenizer_config.json, each once.
  std::vector<int32_t> end_token_ids;
  std::optional<int32_t> bos_token_id;
  std::optional<int32_t> pad_token_id;

  bool operator==(const GenerationDefaults&) const = default;
};

// `tokenizer` (optional) knows the ids of tokenizer_config.json's tokens; `where` names the
// directory in errors. Throws Error{kCorrupt} naming file, key and range.
GenerationDefaults read_generation_defaults(const ConfigTexts& texts, const ModelConfig& config,
                                            const Tokenizer* tokenizer, const std::string& where);

}  // namespace millrace
