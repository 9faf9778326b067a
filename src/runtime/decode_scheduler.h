// DecodeScheduler: which tokens of which sequences share the next step of a decoder. Pure policy
// over a BlockManager: no thread, no device; the time is passed in.
//
// It stands beside Scheduler, not over it: an encoder's request passes through one step and holds
// nothing in between, a decoder's stays for hundreds of steps and holds memory all the while.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "config/runtime_config.h"
#include "runtime/decode_request.h"

namespace millrace {

struct DecodeLimits {
  int64_t max_num_tokens = 8192;       // of a step
  int64_t max_batch_size = 256;        // sequences that run at once
  int64_t max_seq_len = 4096;          // prompt and output
  int64_t total_token_limit = 500000;  // that the running sequences may grow to, all together
  bool chunked_prefill = true;         // false: a prompt is computed in one step
  int64_t max_prompt_logits = 64;      // rows of a step that tell of prompts; more take steps
  int64_t max_steps_in_flight = 1;     // scheduled and not committed
  BatchSchedulerPolicy policy = BatchSchedulerPolicy::kGuaranteedNoEvict;
};

// Tokens [begin, end) of a sequence; their KV goes to the blocks of its table. A token that a step
// in flight is sampling is not in `tokens` yet: its value is on the device.
struct DecodeItem {
  std::shared_ptr<DecodeRequest> request;
  size_t choice = 0;
  SequenceId blocks = 0;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t num_samples = 0;  // tokens to draw from its last logits: one for each choice that begins
  // Positions of the prompt whose logits are wanted: each tells of the token behind it. Those
  // before the request's num_prompt_logits at the time of the commit have been told of: a sequence
  // that was preempted may compute them again.
  int64_t logits_begin = 0;
  int64_t logits_end = 0;
  uint32_t num_preemptions = 0;  // of the sequence when it was scheduled

  DecodeSequence& sequence() const { return request->choices[choice]; }
};

struct DecodeStep {
  std::vector<DecodeItem> items;
  std::vector<KvCopy> copies;  // to be made before, in this order
  int64_t num_tokens = 0;
  int64_t num_prompt_logits = 0;
  int64_t num_preempted = 0;

  bool empty() const { return items.empty(); }
};

// Order: priority, then arrival, then choice. Running sequences that sample go first, then the rest
// of prompts, then what waits; all of them in that order, and nothing overtakes a request that does
// not fit yet. A preempted sequence keeps its place in that order and gives up its blocks; it is
// computed again from its tokens, prompt and output. The first sequence in order is never preempted
// and fits alone (check), so it comes to its end, and after it the next one.
//
// One step: drop(), next_step(), the model, commit() for each item in order, and finish() for what
// has come to an end. With more steps in flight, next_step() is called before the commits of the
// one before it.
class DecodeScheduler {
 public:
  // `blocks` must outlive the scheduler, which alone changes it.
  DecodeScheduler(const DecodeLimits& limits, BlockManager& blocks);

  // Throws Error{kInvalidArgument} for what could never be run. Any thread.
  void check(const DecodeRequest& request) const;

  void add(std::shared_ptr<DecodeRequest> request);  // one that check() accepts

  DecodeStep next_step();

  // An item's KV is computed, and `sampled` [num_samples] was drawn. Choices that begin here are
  // forked. Nothing happens to a sequence that is finished.
  void commit(const DecodeItem& item, std::span<const int32_t> sampled);

  // Instead of commit(): the step was lost. What it would have drawn is drawn when the sequence,
  // which holds no blocks any more, is computed again.
  void abandon(const DecodeItem& item);
  // Whether the sequence has not been preempted since the item was scheduled.
  bool holds_blocks(const DecodeItem& item) const;

  // Gives up a choice's blocks at once, and before the first tokens are there those of all choices.
  // What a step in flight still computes for it is lost. The engine calls it for a choice that
  // stops or is_full().
  void finish(DecodeRequest& request, size_t choice, FinishReason reason);

  // Finishes and returns the requests that were cancelled or whose deadline is before `now`.
  // Finishes choices that were cancelled alone.
  std::vector<std::shared_ptr<DecodeRequest>> drop(Clock::time_point now);

  bool empty() const { return running_.empty() && waiting_.empty(); }
  size_t num_running() const { return running_.size(); }
  size_t num_waiting() const { return waiting_.size(); }
  uint64_t num_preemptions() const { return num_preemptions_; }

  // Throws InternalError when queues, states, limits or blocks do not fit together.
  void check_integrity() const;

 private:
  struct Key {
    int64_t priority = 0;
    uint64_t arrival = 0;
    size_t choice = 0;

    auto operator<=>(const Key&) const = default;
  };
  using Queue = std::map<Key, std::shared_ptr<DecodeRequest>>;

  static Key key_of(const DecodeRequest& request, size_t choice) {
    return {.priority = request.priority, .arrival = request.arrival, .choice = choice};
  }

  void schedule_running(DecodeStep& step, bool prompts);
  void admit_waiting(DecodeStep& step);
  int64_t budget_of(const DecodeRequest& request, size_t choice, int64_t begin,
                    const DecodeStep& step) const;
  std::pair<int64_t, int64_t> next_tokens(const DecodeRequest& request, size_t choice, bool prompts,
                                          const DecodeStep& step) const;
  bool admit(DecodeRequest& request, size_t choice);
  bool make_room(const Key& key, SequenceId blocks, int64_t num_tokens, DecodeStep& step);
  void preempt(Queue::iterator victim, DecodeStep& step);
  void append_item(const std::shared_ptr<DecodeRequest>& request, size_t choice, int64_t begin,
                   int64_t count, DecodeStep& step);
  void begin_choice(const std::shared_ptr<DecodeRequest>& request, size_t choice, int32_t token);
  int64_t num_places(const DecodeRequest& request, size_t choice) const;

  DecodeLimits limits_;
  BlockManager& blocks_;
  Queue running_;
  Queue waiting_;
  int64_t num_running_places_ = 0;  // of max_batch_size: choices to be forked included
  int64_t num_running_tokens_ = 0;  // of total_token_limit
  bool blocked_ = false;  // the first that waits did not fit, and no blocks were given up since
  uint64_t num_arrived_ = 0;
  uint64_t num_preemptions_ = 0;
};

}  // namespace millrace
