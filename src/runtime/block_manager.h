// BlockManager: whose KV lies in which blocks. Pure bookkeeping: no memory, no device, no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/cache_group.h"

namespace millrace {

struct BlockManagerConfig {
  std::vector<CacheGroupConfig> groups;  // at least one
  uint64_t seed = 0;                     // of the prefix hash: drawn at random by each process
  PrefixHash hash = hash_tokens;
};

using SequenceId = int32_t;  // dense: an ended sequence's is given out again

// A new sequence.
struct Admission {
  PrefixScope scope;
  std::span<const int32_t> prompt;  // at least one token
  bool reuse_prefix = true;         // false: compute all of it (for its logits, say)
  int64_t max_num_tokens = 0;       // stored in its life, or that have to fit now
  int64_t max_step_tokens = 1;      // stored beyond what is committed, at once
  int64_t num_sequences = 1;  // it and the forks that will be made when its prompt is computed
  bool promised = true;       // the blocks for all that are reserved; for all sequences or none
};

struct BlockManagerStats {
  uint64_t num_queried_tokens = 0;  // of prompts
  uint64_t num_hit_tokens = 0;      // of them, whose KV was there
};

// The most blocks of a group that a sequence holds at once, at any time until it has `num_tokens`
// tokens of which at most `step_tokens` are not committed.
int64_t max_blocks_held(const CacheGroupConfig& group, int64_t num_tokens, int64_t step_tokens);

// A sequence's tokens are *stored* when they have a place (extend), and *committed* when a finished
// step has computed their KV (commit). Full blocks of committed tokens can be shared: they are
// found by their tokens and all tokens before them, stay cached when nobody uses them any more, and
// make room, the oldest first, when blocks are needed. They are never written again. Blocks that
// are not full are only shared by forks, and copied before one of them is written.
//
// A group with a window gives back the blocks that no later token attends to; their places in the
// table hold kNoBlock.
//
// One step is extend() for each of its sequences, the copies in their order, the model, commit().
class BlockManager {
 public:
  explicit BlockManager(const BlockManagerConfig& config);

  // Takes over what is known of the prompt, all of it but at least the last token: those tokens
  // are committed at once. Nothing happens when blocks for `max_num_tokens` cannot be promised, or
  // do not fit now.
  std::optional<SequenceId> add(const Admission& admission);

  // Stores so many more tokens. False, and nothing happens, when there are too few blocks; never
  // for a promised sequence.
  bool extend(SequenceId id, int64_t num_tokens);

  // Takes back what is stored beyond `num_tokens`, none of it committed.
  void truncate(SequenceId id, int64_t num_tokens);

  // The KV of `tokens` is computed: of all tokens from the sequence's first one.
  void commit(SequenceId id, std::span<const int32_t> tokens);

  // From now on the sequence, all of its forks being made, stores at most so many tokens beyond
  // what is committed: what a window was promised for a long prompt is wanted no more.
  void limit_step(SequenceId id, int64_t max_step_tokens);

  // A sequence with the same tokens, all of which must be committed.
  SequenceId fork(SequenceId id);
  void release(SequenceId id);

  // The copies that the operations since the last call rely on.
  std::vector<KvCopy> take_copies();

  // Whether add() would succeed if nothing else were there.
  bool can_ever_fit(const Admission& admission) const;
  int64_t num_available(size_t group) const { return groups_[group].num_available(); }
  int64_t min_available() const;  // of any group

  int64_t num_tokens(SequenceId id) const { return at(id).num_tokens; }
  int64_t num_committed(SequenceId id) const { return at(id).num_committed; }
  // Block i holds tokens i * block_size and following.
  std::span<const BlockId> block_table(SequenceId id, size_t group) const {
    return at(id).tables[group].blocks;
  }

  size_t num_groups() const { return groups_.size(); }
  int64_t num_sequences() const {
    return static_cast<int64_t>(sequences_.size() - unused_ids_.size());
  }
  const CacheGroupConfig& group_config(size_t group) const { return groups_[group].config(); }
  CacheGroupStats group_stats(size_t group) const { return groups_[group].stats(); }
  BlockManagerStats stats() const { return stats_; }

  // Throws InternalError when the tables, the pools, the prefixes and the promises do not fit
  // together.
  void check_integrity() const;

 private:
  // One group's part of a sequence.
  struct Table {
    std::vector<BlockId> blocks;
    int64_t first_held = 0;     // those before have left the window
    int64_t num_committed = 0;  // full blocks of committed tokens
    NodeId prefix = kNoNode;    // of those; held
    int64_t num_promised = 0;
  };

  struct SequenceState {
    bool is_alive = false;
    bool is_promised = false;
    int64_t num_tokens = 0;
    int64_t num_committed = 0;
    int64_t max_num_tokens = 0;
    int64_t max_step_tokens = 0;
    std::vector<Table> tables;  // [groups]
  };

  // What is known of a prompt, and can be taken over.
  struct Match {
    int64_t num_tokens = 0;
    std::vector<std::vector<NodeId>> prefixes;  // [groups][blocks]
  };

  SequenceState& at(SequenceId id);
  const SequenceState& at(SequenceId id) const;
  Match match(const Admission& admission) const;
  bool fits(const Admission& admission, const Match& match) const;
  SequenceId new_sequence();
  void take_over(const Admission& admission, const Match& match, SequenceState& sequence);
  int64_t blocks_to_extend(const SequenceState& sequence, size_t group, int64_t num_tokens) const;
  void count_taken(SequenceState& sequence, size_t group, int64_t num_blocks);
  void commit_blocks(Table& table, CacheGroup& group, std::span<const int32_t> tokens);
  void leave_window(Table& table, CacheGroup& group, int64_t num_committed);

  std::vector<CacheGroup> groups_;
  int64_t alignment_ = 1;  // tokens; a prefix is shared in multiples of it
  std::vector<SequenceState> sequences_;
  std::vector<SequenceId> unused_ids_;
  BlockManagerStats stats_;
};

}  // namespace millrace
