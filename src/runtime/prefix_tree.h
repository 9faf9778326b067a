// PrefixTree: which block holds the KV of which tokens, told apart by all tokens before them.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/block_list.h"

namespace millrace {

// Whose prefixes may be shared: KV depends on the adapter, and what was asked is a tenant's own.
struct PrefixScope {
  std::string tenant;
  std::string adapter;

  auto operator<=>(const PrefixScope&) const = default;
};

// The hash of a block's tokens behind a prefix with the hash `parent`. `seed` is drawn at random in
// each process, so that nobody can prepare prompts that collide.
using PrefixHash = uint64_t (*)(uint64_t seed, uint64_t parent, std::span<const int32_t> tokens);
uint64_t hash_tokens(uint64_t seed, uint64_t parent, std::span<const int32_t> tokens);

using NodeId = int32_t;
inline constexpr NodeId kNoNode = -1;

// A node is a prefix of whole blocks: its parent is the prefix without the last block. Looking one
// up compares the block's tokens and the parent itself, which was found in the same way: two
// prefixes are never confused, whatever their hashes. A node lives while it has a block, a child
// or a holder; so the prefixes of a block stay known even when their own blocks are gone.
class PrefixTree {
 public:
  PrefixTree(int64_t block_size, uint64_t seed, PrefixHash hash = hash_tokens);

  // The empty prefix of a scope; kNoNode when nothing of it is known.
  NodeId find_root(const PrefixScope& scope) const;
  NodeId find(NodeId parent, std::span<const int32_t> tokens) const;

  // Those, made when unknown, and held.
  NodeId hold_root(const PrefixScope& scope);
  NodeId hold_child(NodeId parent, std::span<const int32_t> tokens);

  void hold(NodeId node) { ++at(node).num_holders; }
  void drop(NodeId node);  // of what was held

  // The blocks with the KV of a node's last block of tokens; kNoBlock where there is none.
  BlockId device_block(NodeId node) const { return at(node).device_block; }
  BlockId host_block(NodeId node) const { return at(node).host_block; }
  bool has_block(NodeId node) const {
    return at(node).device_block != kNoBlock || at(node).host_block != kNoBlock;
  }
  void set_device_block(NodeId node, BlockId block);
  void set_host_block(NodeId node, BlockId block);

  int64_t num_nodes() const { return static_cast<int64_t>(nodes_.size() - unused_.size()); }

  // `held`: the nodes that are held from outside, each as often as it is. Throws InternalError when
  // they, the parents or the table do not fit together.
  void check_integrity(std::span<const NodeId> held) const;

 private:
  struct Node {
    NodeId parent = kNoNode;  // kNoNode: a root
    NodeId next = kNoNode;    // of the same bucket
    uint64_t hash = 0;
    int32_t num_holders = 0;  // children included
    BlockId device_block = kNoBlock;
    BlockId host_block = kNoBlock;
    bool is_alive = false;
  };

  Node& at(NodeId node) { return nodes_[static_cast<size_t>(node)]; }
  const Node& at(NodeId node) const { return nodes_[static_cast<size_t>(node)]; }
  std::span<const int32_t> tokens_of(NodeId node) const;
  size_t bucket_of(uint64_t hash) const { return hash & (buckets_.size() - 1); }
  NodeId find(NodeId parent, uint64_t hash, std::span<const int32_t> tokens) const;
  NodeId make_node(NodeId parent, uint64_t hash);
  void collect(NodeId node);
  void unlink(NodeId node);
  void grow_buckets();

  int64_t block_size_;
  uint64_t seed_;
  PrefixHash hash_;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;  // [nodes, block_size]
  std::vector<NodeId> unused_;
  std::vector<NodeId> buckets_;  // heads of lists; a power of two; roots are in `roots_` alone
  std::map<PrefixScope, NodeId> roots_;
  std::map<NodeId, const PrefixScope*> scope_of_root_;  // keys of `roots_`
  uint64_t num_roots_made_ = 0;
};

}  // namespace millrace
