// Rotary positions as config.json states them, in the spellings before and since transformers 5.
#pragma once

#include <set>

#include "config/model_config.h"

namespace millrace {

namespace json {
class Reader;
}

// What a rope object may leave to the rest of config.json.
struct RopeDefaults {
  std::string what;  // names the file in errors
  double theta = 10'000;
  double partial_rotary_factor = 1;
  int64_t head_dim = 0;
  int64_t max_positions = 0;           // max_position_embeddings
  int64_t original_max_positions = 0;  // of the whole config; 0: it says none
  bool is_phi3 = false;                // "su" and "yarn" mean longrope there
};

// `rope`: rope_scaling, rope_parameters or one of its members; null: none. Keys that nothing here
// reads are added to `unknown`. Throws Error{kCorrupt, kUnsupported}.
RopeConfig read_rope(const json::Reader* rope, const RopeDefaults& defaults,
                     std::set<std::string>& unknown);

}  // namespace millrace
