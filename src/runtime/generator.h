// Generator: what a loaded decoder has beside its network, so that it can answer with text.
#pragma once

#include <memory>
#include <optional>

#include "config/runtime_config.h"
#include "models/plan.h"
#include "runtime/decode_runner.h"
#include "runtime/generation_defaults.h"
#include "text/chat_template.h"
#include "text/detokenizer.h"

namespace millrace {

struct Generator {
  DecodeLimits limits;
  BlockManagerConfig blocks;
  std::unique_ptr<DecodeRunner> runner;       // moved into the GenerationCore
  std::optional<ChatTemplate> chat_template;  // absent: the checkpoint has none
  std::unique_ptr<TokenPieces> pieces;  // absent: random weights, and no tokenizer beside them
  GenerationDefaults defaults;
  std::optional<int64_t> request_default_max_tokens;  // absent: up to max_seq_len
  int64_t kv_bytes = 0;                               // of the device's memory
  int64_t kv_host_bytes = 0;
};

// Within what the plan of a step was made for. `max_steps_in_flight`: of the ops.
DecodeLimits decode_limits(const StepLimits& step, const GenerationSettings& settings,
                           int max_steps_in_flight);

// Gives the ops, whose weights are placed, their KV cache, and says how large it became. Throws
// Error{kUnsupported} when not even one sequence fits.
void allocate_kv_cache(Ops& ops, const KvCacheSpec& spec, const GenerationSettings& settings,
                       Generator& generator);

}  // namespace millrace
