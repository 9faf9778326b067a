// DecodeRequest: what is asked of a decoder in tokens, and how far each of its sequences is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "runtime/block_manager.h"
#include "runtime/request.h"

namespace millrace {

enum class FinishReason : uint8_t {
  kNone,       // not finished
  kStop,       // an end token, a stop token or a stop string
  kLength,     // as many tokens as were asked for, or as the model can hold
  kCancelled,  // nobody waits for it
  kTimeout,    // its deadline passed
  kError,      // its step failed
};

std::string_view to_string(FinishReason reason);

// One choice of a request.
struct DecodeSequence {
  enum class State : uint8_t {
    kWaiting,  // holds no blocks: new, or preempted
    kForking,  // will begin where the prompt of the first choice ends
    kRunning,  // holds blocks
    kFinished,
  };

  State state = State::kWaiting;
  std::vector<int32_t> tokens;  // prompt and output
  SequenceId blocks = -1;       // while running
  int64_t num_in_flight = 0;    // tokens being sampled by steps that are not committed
  int32_t sampled_row = -1;     // of the last sample(), which draws that token
  uint32_t num_preemptions = 0;
  FinishReason finish_reason = FinishReason::kNone;
};

struct DecodeRequest {
  // Asked for.
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_new_tokens = 1;   // of a choice; at least one
  int64_t num_choices = 1;      // n, or best_of
  int64_t priority = 0;         // the lower one goes first
  std::optional<Clock::time_point> deadline;
  PrefixScope scope;
  bool prompt_logits = false;  // those of all of the prompt are wanted: no prefix is reused
  std::shared_ptr<RequestHandle> handle;

  // Progress, kept by the scheduler.
  std::vector<DecodeSequence> choices;  // [num_choices]
  uint64_t arrival = 0;                 // order of add()
  int64_t max_num_tokens = 0;           // of a choice with its prompt
  int64_t num_cached_tokens = -1;       // of the prompt, when it was first admitted; -1: not yet
  int64_t num_prompt_logits = 0;        // positions, from the first, whose logits were computed

  int64_t num_prompt_tokens() const { return static_cast<int64_t>(prompt.size()); }
  bool is_forked() const { return choices.back().state != DecodeSequence::State::kForking; }
  bool is_full(size_t choice) const {
    return static_cast<int64_t>(choices[choice].tokens.size()) >= max_num_tokens;
  }
  bool is_finished() const;
};

}  // namespace millrace
