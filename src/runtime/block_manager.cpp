// Sequences over several groups of blocks: all groups take a step, or none does.
#include "runtime/block_manager.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/integers.h"

namespace millrace {

namespace {

// The first block that a token at `position` attends to.
int64_t first_attended(const CacheGroupConfig& group, int64_t position) {
  if (group.window == 0) return 0;
  return std::max<int64_t>(0, position - group.window + 1) / group.block_size;
}

// Those that a fork of `num_tokens` tokens may take beyond what it shares for good.
int64_t needed_by_fork(const CacheGroupConfig& group, int64_t num_tokens, int64_t max_num_tokens,
                       int64_t step_tokens) {
  const int64_t shared = group.window == 0 ? num_tokens / group.block_size : 0;
  return max_blocks_held(group, max_num_tokens, step_tokens) - shared;
}

// Those of a sequence and its forks; each of them may have to copy the prompt's last block.
int64_t needed(const CacheGroupConfig& group, const Admission& admission) {
  const auto prompt = static_cast<int64_t>(admission.prompt.size());
  const int64_t num_forks = admission.num_sequences - 1;
  const bool copies = num_forks > 0 && group.window == 0 && prompt % group.block_size != 0;
  return max_blocks_held(group, admission.max_num_tokens, admission.max_step_tokens) +
         (copies ? 1 : 0) +
         num_forks *
             needed_by_fork(group, prompt, admission.max_num_tokens, admission.max_step_tokens);
}

}  // namespace

// For a window: those that the tokens of a step and the window - 1 before them touch, wherever the
// first block begins.
int64_t max_blocks_held(const CacheGroupConfig& group, int64_t num_tokens, int64_t step_tokens) {
  const int64_t whole = ceil_div(num_tokens, group.block_size);
  if (group.window == 0) return whole;
  const int64_t span = group.window - 1 + step_tokens;
  return std::min(whole, (span + 2 * group.block_size - 2) / group.block_size);
}

BlockManager::BlockManager(const BlockManagerConfig& config) {
  CHECK(!config.groups.empty());
  for (const CacheGroupConfig& group : config.groups) {
    groups_.emplace_back(group, groups_.size(), config.seed, config.hash);
    alignment_ = std::lcm(alignment_, group.block_size);
  }
}

BlockManager::SequenceState& BlockManager::at(SequenceId id) {
  SequenceState& sequence = sequences_.at(static_cast<size_t>(id));
  CHECK(sequence.is_alive, "sequence {} has ended", id);
  return sequence;
}

const BlockManager::SequenceState& BlockManager::at(SequenceId id) const {
  return const_cast<BlockManager*>(this)->at(id);
}

// --- a sequence begins ---------------------------------------------------------------------------

// The longest prefix that every group can continue: a group without a window needs all blocks of
// it, one with a window those that the next token attends to.
BlockManager::Match BlockManager::match(const Admission& admission) const {
  Match match{.prefixes = std::vector<std::vector<NodeId>>(groups_.size())};
  if (!admission.reuse_prefix) return match;
  const auto align = [this](int64_t tokens) { return tokens / alignment_ * alignment_; };
  int64_t length = align(static_cast<int64_t>(admission.prompt.size()) - 1);
  std::vector<std::vector<int64_t>> runs(groups_.size());  // blocks in a row that end here
  for (size_t g = 0; g < groups_.size(); ++g) {
    const PrefixTree& tree = groups_[g].tree();
    const int64_t size = groups_[g].config().block_size;
    NodeId prefix = tree.find_root(admission.scope);
    while (prefix != kNoNode && static_cast<int64_t>(runs[g].size()) < length / size) {
      prefix =
          tree.find(prefix, admission.prompt.subspan(runs[g].size() * static_cast<size_t>(size),
                                                     static_cast<size_t>(size)));
      if (prefix == kNoNode || (groups_[g].config().window == 0 && !tree.has_block(prefix))) break;
      match.prefixes[g].push_back(prefix);
      const int64_t before = runs[g].empty() ? 0 : runs[g].back();
      runs[g].push_back(tree.has_block(prefix) ? before + 1 : 0);
    }
    length = align(static_cast<int64_t>(runs[g].size()) * size);
  }
  const auto can_continue = [&](size_t g, int64_t tokens) {
    const int64_t num_blocks = tokens / groups_[g].config().block_size;
    return num_blocks == 0 || runs[g][static_cast<size_t>(num_blocks) - 1] >=
                                  num_blocks - first_attended(groups_[g].config(), tokens);
  };
  for (size_t g = 0; g < groups_.size();) {
    if (can_continue(g, length)) {
      ++g;
    } else {
      length -= alignment_;
      g = 0;
    }
  }
  match.num_tokens = length;
  for (size_t g = 0; g < groups_.size(); ++g)
    match.prefixes[g].resize(static_cast<size_t>(length / groups_[g].config().block_size));
  return match;
}

bool BlockManager::fits(const Admission& admission, const Match& match) const {
  for (size_t g = 0; g < groups_.size(); ++g) {
    const CacheGroup& group = groups_[g];
    const auto first = first_attended(group.config(), match.num_tokens);
    int64_t num_shared = 0;
    for (size_t i = static_cast<size_t>(first); i < match.prefixes[g].size(); ++i)
      num_shared += group.is_used(match.prefixes[g][i]) ? 1 : 0;
    const int64_t num_needed = needed(group.config(), admission);
    if (admission.promised ? !group.can_promise(num_needed, num_shared)
                           : num_needed - num_shared > group.num_available())
      return false;
  }
  return true;
}

bool BlockManager::can_ever_fit(const Admission& admission) const {
  return std::ranges::all_of(groups_, [&](const CacheGroup& group) {
    return needed(group.config(), admission) <= group.config().num_blocks;
  });
}

std::optional<SequenceId> BlockManager::add(const Admission& admission) {
  CHECK(!admission.prompt.empty() && admission.num_sequences > 0 && admission.max_step_tokens > 0);
  CHECK(admission.max_num_tokens >= static_cast<int64_t>(admission.prompt.size()));
  const Match found = match(admission);
  if (!fits(admission, found)) return std::nullopt;
  const SequenceId id = new_sequence();
  take_over(admission, found, at(id));
  stats_.num_queried_tokens += admission.prompt.size();
  stats_.num_hit_tokens += static_cast<uint64_t>(found.num_tokens);
  return id;
}

SequenceId BlockManager::new_sequence() {
  if (unused_ids_.empty()) {
    unused_ids_.push_back(static_cast<SequenceId>(sequences_.size()));
    sequences_.emplace_back().tables.resize(groups_.size());
  }
  const SequenceId id = unused_ids_.back();
  unused_ids_.pop_back();
  sequences_[static_cast<size_t>(id)].is_alive = true;
  return id;
}

void BlockManager::take_over(const Admission& admission, const Match& match,
                             SequenceState& sequence) {
  sequence.is_promised = admission.promised;
  sequence.num_tokens = sequence.num_committed = match.num_tokens;
  sequence.max_num_tokens = admission.max_num_tokens;
  sequence.max_step_tokens = admission.max_step_tokens;
  for (size_t g = 0; g < groups_.size(); ++g) {
    CacheGroup& group = groups_[g];
    const CacheGroupConfig& config = group.config();
    const std::vector<NodeId>& prefixes = match.prefixes[g];
    Table& table = sequence.tables[g];
    if (admission.promised) {
      table.num_promised = needed(config, admission);
      group.promise(table.num_promised);
    }
    if (prefixes.empty()) {
      table.prefix = group.tree().hold_root(admission.scope);
    } else {
      table.prefix = prefixes.back();
      group.tree().hold(table.prefix);
    }
    table.num_committed = static_cast<int64_t>(prefixes.size());
    table.first_held = first_attended(config, match.num_tokens);
    table.blocks.reserve(
        static_cast<size_t>(ceil_div(admission.max_num_tokens, config.block_size)));
    table.blocks.assign(static_cast<size_t>(table.first_held), kNoBlock);
    const std::vector<BlockId> shared =
        group.acquire(std::span(prefixes).subspan(static_cast<size_t>(table.first_held)));
    table.blocks.insert(table.blocks.end(), shared.begin(), shared.end());
    count_taken(sequence, g, static_cast<int64_t>(shared.size()));
  }
}

// --- a sequence grows ----------------------------------------------------------------------------

// New blocks, and the copy of a last block that others have too.
int64_t BlockManager::blocks_to_extend(const SequenceState& sequence, size_t group,
                                       int64_t num_tokens) const {
  const int64_t size = groups_[group].config().block_size;
  const std::vector<BlockId>& blocks = sequence.tables[group].blocks;
  const bool copies = sequence.num_tokens % size != 0 && groups_[group].is_shared(blocks.back());
  return ceil_div(sequence.num_tokens + num_tokens, size) - static_cast<int64_t>(blocks.size()) +
         (copies ? 1 : 0);
}

bool BlockManager::extend(SequenceId id, int64_t num_tokens) {
  SequenceState& sequence = at(id);
  CHECK(num_tokens > 0);
  CHECK(!sequence.is_promised || sequence.num_tokens + num_tokens <= sequence.max_num_tokens,
        "{} tokens and {} more, {} were promised", sequence.num_tokens, num_tokens,
        sequence.max_num_tokens);
  for (size_t g = 0; g < groups_.size(); ++g)
    if (blocks_to_extend(sequence, g, num_tokens) > groups_[g].num_available()) return false;
  for (size_t g = 0; g < groups_.size(); ++g) {
    int64_t to_take = blocks_to_extend(sequence, g, num_tokens);
    if (to_take == 0) continue;
    count_taken(sequence, g, to_take);
    std::vector<BlockId>& blocks = sequence.tables[g].blocks;
    if (sequence.num_tokens % groups_[g].config().block_size != 0 &&
        groups_[g].is_shared(blocks.back())) {
      blocks.back() = groups_[g].copy(blocks.back());
      --to_take;
    }
    for (; to_take > 0; --to_take) blocks.push_back(groups_[g].take());
  }
  sequence.num_tokens += num_tokens;
  return true;
}

// Promised blocks that are now held; a window's promise is of what it holds at once, and stays.
void BlockManager::count_taken(SequenceState& sequence, size_t group, int64_t num_blocks) {
  if (!sequence.is_promised || groups_[group].config().window > 0) return;
  Table& table = sequence.tables[group];
  CHECK(table.num_promised >= num_blocks, "{} blocks taken, {} promised", num_blocks,
        table.num_promised);
  table.num_promised -= num_blocks;
  groups_[group].promise(-num_blocks);
}

void BlockManager::truncate(SequenceId id, int64_t num_tokens) {
  SequenceState& sequence = at(id);
  CHECK(sequence.num_committed <= num_tokens && num_tokens <= sequence.num_tokens);
  for (size_t g = 0; g < groups_.size(); ++g) {
    std::vector<BlockId>& blocks = sequence.tables[g].blocks;
    const int64_t num_kept = ceil_div(num_tokens, groups_[g].config().block_size);
    count_taken(sequence, g, num_kept - static_cast<int64_t>(blocks.size()));
    while (static_cast<int64_t>(blocks.size()) > num_kept) {
      groups_[g].give_up(blocks.back());
      blocks.pop_back();
    }
  }
  sequence.num_tokens = num_tokens;
}

void BlockManager::commit(SequenceId id, std::span<const int32_t> tokens) {
  SequenceState& sequence = at(id);
  const auto num_tokens = static_cast<int64_t>(tokens.size());
  CHECK(sequence.num_committed <= num_tokens && num_tokens <= sequence.num_tokens,
        "{} tokens computed; {} before, {} stored", num_tokens, sequence.num_committed,
        sequence.num_tokens);
  sequence.num_committed = num_tokens;
  for (size_t g = 0; g < groups_.size(); ++g) {
    commit_blocks(sequence.tables[g], groups_[g], tokens);
    leave_window(sequence.tables[g], groups_[g], num_tokens);
  }
}

void BlockManager::commit_blocks(Table& table, CacheGroup& group, std::span<const int32_t> tokens) {
  const auto size = static_cast<size_t>(group.config().block_size);
  while ((static_cast<size_t>(table.num_committed) + 1) * size <= tokens.size()) {
    const auto index = static_cast<size_t>(table.num_committed++);
    const NodeId parent = table.prefix;
    table.prefix = group.tree().hold_child(parent, tokens.subspan(index * size, size));
    group.tree().drop(parent);
    group.publish(table.blocks[index], table.prefix);
  }
}

void BlockManager::leave_window(Table& table, CacheGroup& group, int64_t num_committed) {
  const int64_t first = first_attended(group.config(), num_committed);
  for (; table.first_held < first; ++table.first_held) {
    BlockId& block = table.blocks[static_cast<size_t>(table.first_held)];
    group.give_up(block);
    block = kNoBlock;
  }
}

void BlockManager::limit_step(SequenceId id, int64_t max_step_tokens) {
  SequenceState& sequence = at(id);
  CHECK(sequence.num_tokens - sequence.num_committed <= max_step_tokens);
  sequence.max_step_tokens = max_step_tokens;
  if (!sequence.is_promised) return;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const CacheGroupConfig& config = groups_[g].config();
    if (config.window == 0) continue;
    Table& table = sequence.tables[g];
    const int64_t promised = max_blocks_held(config, sequence.max_num_tokens, max_step_tokens);
    CHECK(promised <= table.num_promised, "{} blocks promised, {} now", table.num_promised,
          promised);
    groups_[g].promise(promised - table.num_promised);
    table.num_promised = promised;
  }
}

// --- sequences part and end ----------------------------------------------------------------------

SequenceId BlockManager::fork(SequenceId id) {
  const SequenceId child_id = new_sequence();
  SequenceState& parent = at(id);
  SequenceState& child = at(child_id);
  CHECK(parent.num_tokens == parent.num_committed, "sequence {} has tokens in a step", id);
  child.is_promised = parent.is_promised;
  child.num_tokens = child.num_committed = parent.num_tokens;
  child.max_num_tokens = parent.max_num_tokens;
  child.max_step_tokens = parent.max_step_tokens;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const CacheGroupConfig& config = groups_[g].config();
    Table& from = parent.tables[g];
    Table& to = child.tables[g];
    to.blocks.reserve(from.blocks.capacity());
    to.blocks.assign(from.blocks.begin(), from.blocks.end());
    to.first_held = from.first_held;
    to.num_committed = from.num_committed;
    to.prefix = from.prefix;
    groups_[g].tree().hold(to.prefix);
    for (size_t i = static_cast<size_t>(to.first_held); i < to.blocks.size(); ++i)
      groups_[g].share(to.blocks[i]);
    if (!parent.is_promised) continue;
    to.num_promised =
        needed_by_fork(config, child.num_tokens, child.max_num_tokens, parent.max_step_tokens);
    CHECK(to.num_promised <= from.num_promised, "no fork was promised");
    from.num_promised -= to.num_promised;
  }
  return child_id;
}

// The last blocks are given up first: whatever is evicted, what stays is a prefix.
void BlockManager::release(SequenceId id) {
  SequenceState& sequence = at(id);
  for (size_t g = 0; g < groups_.size(); ++g) {
    Table& table = sequence.tables[g];
    for (size_t i = table.blocks.size(); i > static_cast<size_t>(table.first_held); --i)
      groups_[g].give_up(table.blocks[i - 1]);
    groups_[g].tree().drop(table.prefix);
    groups_[g].promise(-table.num_promised);
    table.blocks.clear();
    table.num_promised = 0;
  }
  sequence.is_alive = false;
  unused_ids_.push_back(id);
}

std::vector<KvCopy> BlockManager::take_copies() {
  std::vector<KvCopy> all;
  for (CacheGroup& group : groups_) {
    const std::vector<KvCopy> copies = group.take_copies();
    all.insert(all.end(), copies.begin(), copies.end());
  }
  return all;
}

int64_t BlockManager::min_available() const {
  int64_t least = INT64_MAX;
  for (const CacheGroup& group : groups_) least = std::min(least, group.num_available());
  return least;
}

// --- proof ---------------------------------------------------------------------------------------

void BlockManager::check_integrity() const {
  const bool all_promised = std::ranges::all_of(
      sequences_, [](const SequenceState& s) { return !s.is_alive || s.is_promised; });
  for (size_t g = 0; g < groups_.size(); ++g) {
    const CacheGroup& group = groups_[g];
    const CacheGroupConfig& config = group.config();
    std::vector<int32_t> num_users(static_cast<size_t>(config.num_blocks));
    std::vector<NodeId> held;
    int64_t num_promised = 0;
    for (const SequenceState& sequence : sequences_) {
      if (!sequence.is_alive) continue;
      const Table& table = sequence.tables[g];
      held.push_back(table.prefix);
      CHECK(sequence.num_committed <= sequence.num_tokens);
      CHECK(static_cast<int64_t>(table.blocks.size()) ==
            ceil_div(sequence.num_tokens, config.block_size));
      CHECK(table.num_committed == sequence.num_committed / config.block_size);
      CHECK(table.first_held == first_attended(config, sequence.num_committed));
      for (size_t i = 0; i < table.blocks.size(); ++i) {
        const BlockId block = table.blocks[i];
        CHECK((block == kNoBlock) == (static_cast<int64_t>(i) < table.first_held));
        if (block != kNoBlock) ++num_users.at(static_cast<size_t>(block));
      }
      CHECK(table.num_promised >= 0 && (sequence.is_promised || table.num_promised == 0));
      CHECK(!sequence.is_promised || config.window == 0 ||
                static_cast<int64_t>(table.blocks.size()) - table.first_held <= table.num_promised,
            "a window holds more than was promised");
      num_promised += table.num_promised;
    }
    group.check_integrity(num_users, held);
    CHECK(num_promised == group.num_promised());
    const int64_t limit = config.window > 0 ? config.num_blocks : group.num_available();
    CHECK(!all_promised || num_promised <= limit, "{} blocks promised of {}", num_promised, limit);
  }
}

}  // namespace millrace
