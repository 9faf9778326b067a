// CacheGroup: the KV blocks of the layers that attend alike, on the device and in host memory.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ops/kv_cache.h"
#include "runtime/block_list.h"
#include "runtime/prefix_tree.h"

namespace millrace {

// Layers of a model whose KV is kept for the same tokens.
struct CacheGroupConfig {
  int64_t block_size = 16;      // tokens of a block
  int64_t num_blocks = 0;       // on the device
  int64_t num_host_blocks = 0;  // in host memory; 0: what is evicted is lost
  int64_t window = 0;           // a token attends to so many, itself included; 0: to all
};

struct CacheGroupStats {
  int64_t num_blocks = 0;
  int64_t num_used = 0;         // in the table of a sequence
  int64_t num_cached = 0;       // in none, and with KV that a prompt may ask for
  int64_t num_host_cached = 0;  // in host memory
  uint64_t num_evicted = 0;     // device blocks whose KV made room
};

// A device block is free (nothing of use in it), cached (KV of a known prefix, oldest evicted
// first) or used (by one table or several). Free and cached ones are available. Each promise of
// blocks that will be taken later is counted here, so that it can be kept.
class CacheGroup {
 public:
  CacheGroup(const CacheGroupConfig& config, size_t index, uint64_t seed, PrefixHash hash);

  const CacheGroupConfig& config() const { return config_; }
  PrefixTree& tree() { return tree_; }
  const PrefixTree& tree() const { return tree_; }

  int64_t num_available() const { return static_cast<int64_t>(free_.size()) + cached_.size(); }
  bool is_shared(BlockId block) const { return at(block).num_users > 1; }
  bool is_used(NodeId node) const {  // by a sequence: sharing it costs nothing
    const BlockId block = tree_.device_block(node);
    return block != kNoBlock && at(block).num_users > 0;
  }

  BlockId take();  // an empty block for one user; requires num_available() > 0
  void share(BlockId block) { ++at(block).num_users; }  // requires that it is used
  BlockId copy(BlockId block);  // the user's own copy of a shared one, which it gives up
  void give_up(BlockId block);

  // The nodes' blocks for one more user each, out of host memory where they are only there.
  // Requires an available block for each node that is not is_used().
  std::vector<BlockId> acquire(std::span<const NodeId> nodes);

  // The block's KV is computed and is that of the node, which may have a block already.
  void publish(BlockId block, NodeId node);

  // What has been promised: blocks still to be taken, or for a window, where blocks change hands
  // all the time, all that a sequence may hold at once.
  int64_t num_promised() const { return num_promised_; }
  bool can_promise(int64_t num_blocks, int64_t num_shared) const;
  void promise(int64_t num_blocks) { num_promised_ += num_blocks; }

  // The copies since the last call.
  std::vector<KvCopy> take_copies() { return std::exchange(copies_, {}); }

  CacheGroupStats stats() const;

  // `num_users`: how many tables each block is in; `held`: the prefixes that sequences hold. Throws
  // InternalError when a list or a node does not agree.
  void check_integrity(std::span<const int32_t> num_users, std::span<const NodeId> held) const;

 private:
  struct Block {
    int32_t num_users = 0;
    NodeId node = kNoNode;  // whose KV it holds; kNoNode: nobody else's
  };

  Block& at(BlockId block) { return blocks_[static_cast<size_t>(block)]; }
  const Block& at(BlockId block) const { return blocks_[static_cast<size_t>(block)]; }
  void evict(BlockId block);
  void save_to_host(BlockId block, NodeId node);
  BlockId load_from_host(NodeId node);
  void order(BlockId from, BlockId to, KvCopy::Kind kind) {
    copies_.push_back({.kind = kind, .group = index_, .from = from, .to = to});
  }

  CacheGroupConfig config_;
  size_t index_;
  PrefixTree tree_;
  std::vector<Block> blocks_;
  std::vector<BlockId> free_;
  BlockList cached_;
  std::vector<NodeId> host_nodes_;  // [num_host_blocks], kNoNode: free
  std::vector<BlockId> host_free_;
  BlockList host_cached_;
  int64_t num_promised_ = 0;
  uint64_t num_evicted_ = 0;
  std::vector<KvCopy> copies_;
};

}  // namespace millrace
