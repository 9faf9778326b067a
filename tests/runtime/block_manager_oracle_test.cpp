// The block manager against memory that is really written: random sequences are stored, shared,
// copied, evicted and fetched back, and behind every block table lies the KV of its own tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/kernel_test.h"
#include "runtime/block_manager.h"

namespace millrace {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSteps = 40'000;  // each is some twenty times slower
#else
constexpr int kSteps = 1'000'000;
#endif
constexpr int kStepsOfAPool = 2000;  // then another geometry is drawn
constexpr int kStepsAChecked = 64;   // check_integrity() now and then, in the long run

using cpu::Random;

// What stands for a token's KV: a number that depends on the scope and on all tokens so far.
using Kv = uint64_t;

Kv next_kv(Kv before, int32_t token) {
  return (before ^ static_cast<uint32_t>(token)) * 0x2545f4914f6cdd1d + 0x632be59bd9b4e019;
}

struct OracleSequence {
  SequenceId id = 0;
  int tenant = 0;
  std::vector<int32_t> tokens;  // prompt and what was generated
  std::vector<Kv> kv;           // [tokens]

  void append(int32_t token) {
    const Kv before = kv.empty() ? static_cast<Kv>(tenant) + 1 : kv.back();
    tokens.push_back(token);
    kv.push_back(next_kv(before, token));
  }
};

class Oracle {
 public:
  Oracle(Random& random, bool check_each_step)
      : random_(random),
        check_each_step_(check_each_step),
        config_(draw_config()),
        blocks_(config_) {
    for (const CacheGroupConfig& group : config_.groups) {
      device_.emplace_back(static_cast<size_t>(group.num_blocks * group.block_size));
      host_.emplace_back(static_cast<size_t>(group.num_host_blocks * group.block_size));
    }
  }

  void step() {
    const int64_t dice = draw(0, 99);
    if (sequences_.empty() || dice < 18) {
      add();
    } else if (dice < 74) {
      compute();
    } else if (dice < 80) {
      fork();
    } else if (dice < 97) {
      release(pick());
    } else {
      compute_with_a_guess();
    }
    if (check_each_step_ || ++num_steps_ % kStepsAChecked == 0) check_all();
  }

  void end() {
    while (!sequences_.empty()) release(0);
    check_all();
    for (size_t g = 0; g < config_.groups.size(); ++g)
      ASSERT_EQ(blocks_.num_available(g), config_.groups[g].num_blocks) << "a block leaked";
  }

  uint64_t num_hits() const { return blocks_.stats().num_hit_tokens; }

 private:
  int64_t draw(int64_t least, int64_t most) { return random_.integer(least, most); }
  size_t pick() {
    return static_cast<size_t>(draw(0, static_cast<int64_t>(sequences_.size()) - 1));
  }

  BlockManagerConfig draw_config() {
    BlockManagerConfig config{.seed = static_cast<uint64_t>(draw(0, INT32_MAX))};
    promised_ = draw(0, 1) == 1;
    const int64_t num_groups = draw(1, 3);
    for (int64_t i = 0; i < num_groups; ++i) {
      config.groups.push_back({.block_size = int64_t{1} << draw(0, 3),
                               .num_blocks = draw(4, 60),
                               .num_host_blocks = draw(0, 1) * draw(1, 40),
                               .window = draw(0, 1) * draw(1, 20)});
    }
    if (draw(0, 7) == 0)
      config.hash = [](uint64_t, uint64_t, std::span<const int32_t>) { return uint64_t{1}; };
    return config;
  }

  // Prompts share prefixes often: each token is one of two, and mostly the first.
  void add() {
    OracleSequence sequence{.tenant = static_cast<int>(draw(0, 1))};
    const int64_t length = draw(1, 48);
    for (int64_t i = 0; i < length; ++i) sequence.append(draw(0, 15) == 0 ? 1 : 0);
    Admission admission{.scope = {.tenant = std::to_string(sequence.tenant)},
                        .prompt = sequence.tokens,
                        .reuse_prefix = draw(0, 9) > 0,
                        .max_num_tokens = length + (promised_ ? draw(0, 30) : 0),
                        .max_step_tokens = promised_ ? draw(1, 16) : length,
                        .num_sequences = promised_ ? draw(1, 3) : 1,
                        .promised = promised_};
    const std::optional<SequenceId> id = blocks_.add(admission);
    if (!id) {
      ASSERT_TRUE(!sequences_.empty() || !blocks_.can_ever_fit(admission))
          << "an empty pool refuses what fits";
      return;
    }
    sequence.id = *id;
    ASSERT_LT(blocks_.num_committed(*id), length) << "nothing is left to compute";
    if (admission.reuse_prefix) check_hit(sequence);
    if (promised_) {
      limits_.push_back({.tokens = admission.max_num_tokens,
                         .step = admission.max_step_tokens,
                         .prompt = length,
                         .forks = admission.num_sequences - 1});
    } else {
      limits_.push_back({.tokens = INT32_MAX, .step = 16, .prompt = length, .forks = INT32_MAX});
    }
    sequences_.push_back(std::move(sequence));
    run_step({});
    check_kv(sequences_.back());
  }

  // What a living sequence has committed must be found: without windows, all whole blocks of it. Of
  // KV that was computed more than once only one block is known, and that one may be gone.
  void check_hit(const OracleSequence& sequence) {
    int64_t alignment = 1;
    for (const CacheGroupConfig& group : config_.groups) {
      if (group.window > 0) return;
      alignment = std::max(alignment, group.block_size);
    }
    int64_t longest = 0;
    for (const OracleSequence& other : sequences_) {
      const auto [mine, theirs] = std::ranges::mismatch(sequence.kv, other.kv);
      const auto twice = std::find_if(sequence.kv.begin(), mine,
                                      [this](Kv kv) { return computed_twice_.contains(kv); });
      const int64_t common =
          std::min<int64_t>({twice - sequence.kv.begin(), blocks_.num_committed(other.id),
                             static_cast<int64_t>(sequence.kv.size()) - 1});
      longest = std::max(longest, common / alignment * alignment);
    }
    ASSERT_GE(blocks_.num_committed(sequence.id), longest);
  }

  // One step of some sequences: a chunk of a prompt, or a token.
  void compute() {
    std::set<size_t> chosen;
    for (int64_t i = draw(1, 4); i > 0; --i) chosen.insert(pick());
    std::vector<size_t> step;
    for (const size_t index : chosen)
      if (extend(index, draw(1, 12))) step.push_back(index);
    run_step(step);
    for (const size_t index : step) commit(index, blocks_.num_tokens(sequences_[index].id));
  }

  // Some of a step's tokens turn out wrong, and others take their places.
  void compute_with_a_guess() {
    const size_t index = pick();
    OracleSequence& sequence = sequences_[index];
    const int64_t before = blocks_.num_committed(sequence.id);
    if (!extend(index, draw(1, 12))) return;
    run_step({index});
    const int64_t stored = blocks_.num_tokens(sequence.id);
    const int64_t kept = draw(before, stored);
    blocks_.truncate(sequence.id, kept);
    commit(index, kept);
    const auto prompt = static_cast<size_t>(limits_[index].prompt);
    const size_t length = std::max(prompt, static_cast<size_t>(kept));
    sequence.tokens.resize(length);
    sequence.kv.resize(length);
  }

  bool extend(size_t index, int64_t num_tokens) {
    OracleSequence& sequence = sequences_[index];
    const int64_t stored = blocks_.num_tokens(sequence.id);
    num_tokens = std::min({num_tokens, limits_[index].step, limits_[index].tokens - stored});
    // A prompt ends a step, so that it can be forked there.
    if (stored < limits_[index].prompt)
      num_tokens = std::min(num_tokens, limits_[index].prompt - stored);
    if (num_tokens <= 0) return false;
    const std::vector<int64_t> needed = blocks_needed(sequence, num_tokens);
    const bool done = blocks_.extend(sequence.id, num_tokens);
    bool fits = true;
    for (size_t g = 0; g < needed.size(); ++g) fits = fits && needed[g] <= 0;
    EXPECT_EQ(done, fits) << "blocks are there, or they are not";
    EXPECT_TRUE(done || !promised_) << "a promise was broken";
    while (done && static_cast<int64_t>(sequence.tokens.size()) < stored + num_tokens)
      sequence.append(static_cast<int32_t>(draw(0, 3)));
    return done;
  }

  // Beyond those that no table has, for each group.
  std::vector<int64_t> blocks_needed(const OracleSequence& sequence, int64_t num_tokens) {
    std::vector<int64_t> needed;
    for (size_t g = 0; g < config_.groups.size(); ++g) {
      std::multiset<BlockId> used;
      for (const OracleSequence& other : sequences_)
        for (const BlockId block : blocks_.block_table(other.id, g))
          if (block != kNoBlock) used.insert(block);
      const std::set<BlockId> distinct(used.begin(), used.end());
      const int64_t size = config_.groups[g].block_size;
      const int64_t stored = blocks_.num_tokens(sequence.id);
      int64_t count = (stored + num_tokens + size - 1) / size - (stored + size - 1) / size;
      if (stored % size != 0 && used.count(blocks_.block_table(sequence.id, g).back()) > 1) ++count;
      needed.push_back(count -
                       (config_.groups[g].num_blocks - static_cast<int64_t>(distinct.size())));
    }
    return needed;
  }

  void fork() {
    const size_t index = pick();
    if (sequences_.size() > 12 || limits_[index].forks == 0) return;
    const SequenceId id = sequences_[index].id;
    if (blocks_.num_tokens(id) != blocks_.num_committed(id)) return;
    if (promised_ && blocks_.num_tokens(id) != limits_[index].prompt) return;
    OracleSequence child = sequences_[index];
    child.id = blocks_.fork(id);
    Limits limits = limits_[index];
    --limits_[index].forks;
    limits.forks = promised_ ? 0 : limits.forks;
    if (promised_ && limits_[index].forks == 0 && draw(0, 1) == 0) {
      blocks_.limit_step(id, 1);
      limits_[index].step = 1;
    }
    sequences_.push_back(std::move(child));
    limits_.push_back(limits);
  }

  void release(size_t index) {
    blocks_.release(sequences_[index].id);
    sequences_.erase(sequences_.begin() + static_cast<int64_t>(index));
    limits_.erase(limits_.begin() + static_cast<int64_t>(index));
  }

  // --- memory ------------------------------------------------------------------------------------

  void run_step(const std::vector<size_t>& step) {
    for (const KvCopy& copy : blocks_.take_copies()) {
      const size_t g = copy.group;
      std::vector<Kv>& from = copy.kind == KvCopy::Kind::kFromHost ? host_[g] : device_[g];
      std::vector<Kv>& to = copy.kind == KvCopy::Kind::kToHost ? host_[g] : device_[g];
      const int64_t size = config_.groups[g].block_size;
      ASSERT_LE((copy.from + 1) * size, static_cast<int64_t>(from.size()));
      ASSERT_LE((copy.to + 1) * size, static_cast<int64_t>(to.size()));
      std::copy_n(from.begin() + copy.from * size, size, to.begin() + copy.to * size);
    }
    for (const size_t index : step) check_kv(sequences_[index]);
    for (const size_t index : step) {
      const OracleSequence& sequence = sequences_[index];
      for (int64_t i = blocks_.num_committed(sequence.id); i < blocks_.num_tokens(sequence.id);
           ++i) {
        const Kv kv = sequence.kv[static_cast<size_t>(i)];
        if (!computed_.insert(kv).second) computed_twice_.insert(kv);
        for (size_t g = 0; g < config_.groups.size(); ++g) *slot(sequence, g, i) = kv;
      }
    }
    for (const size_t index : step) check_kv(sequences_[index]);
  }

  Kv* slot(const OracleSequence& sequence, size_t g, int64_t position) {
    const int64_t size = config_.groups[g].block_size;
    const BlockId block = blocks_.block_table(sequence.id, g)[static_cast<size_t>(position / size)];
    if (block < 0 || block >= config_.groups[g].num_blocks) return nullptr;
    return &device_[g][static_cast<size_t>(block * size + position % size)];
  }

  // What the next token attends to.
  void check_kv(const OracleSequence& sequence) {
    const int64_t committed = blocks_.num_committed(sequence.id);
    for (size_t g = 0; g < config_.groups.size(); ++g) {
      const int64_t window = config_.groups[g].window;
      const int64_t first = window > 0 ? std::max<int64_t>(0, committed - window + 1) : 0;
      for (int64_t i = first; i < committed; ++i) {
        const Kv* kv = slot(sequence, g, i);
        ASSERT_TRUE(kv && *kv == sequence.kv[static_cast<size_t>(i)])
            << "group " << g << ", token " << i << " of " << committed;
      }
    }
  }

  void commit(size_t index, int64_t num_tokens) {
    const OracleSequence& sequence = sequences_[index];
    blocks_.commit(sequence.id, std::span(sequence.tokens).first(static_cast<size_t>(num_tokens)));
  }

  void check_all() {
    ASSERT_NO_THROW(blocks_.check_integrity());
    for (const OracleSequence& sequence : sequences_) check_kv(sequence);
  }

  struct Limits {
    int64_t tokens = 0;
    int64_t step = 0;
    int64_t prompt = 0;
    int64_t forks = 0;  // that may still be made
  };

  Random& random_;
  bool check_each_step_;
  bool promised_ = false;
  BlockManagerConfig config_;
  BlockManager blocks_;
  std::vector<OracleSequence> sequences_;
  std::vector<Limits> limits_;           // of each
  std::vector<std::vector<Kv>> device_;  // [groups][num_blocks * block_size]
  std::vector<std::vector<Kv>> host_;
  std::set<Kv> computed_;
  std::set<Kv> computed_twice_;
  int64_t num_steps_ = 0;
};

void play(int num_steps, bool check_each_step) {
  Random random;
  SCOPED_TRACE("MILLRACE_TEST_SEED=" + std::to_string(random.seed()));
  uint64_t num_hits = 0;
  for (int done = 0; done < num_steps && !testing::Test::HasFailure(); done += kStepsOfAPool) {
    Oracle oracle(random, check_each_step);
    for (int i = 0; i < kStepsOfAPool && !testing::Test::HasFailure(); ++i) oracle.step();
    if (!testing::Test::HasFailure()) oracle.end();
    num_hits += oracle.num_hits();
  }
  EXPECT_GT(num_hits, 0u);
}

TEST(BlockManagerOracle, EveryStepIsChecked) {
  play(20'000, true);
}

TEST(BlockManagerOracle, ManySteps) {
  play(kSteps, false);
}

}  // namespace
}  // namespace millrace
