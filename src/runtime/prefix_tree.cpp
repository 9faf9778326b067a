// Nodes in one array, found through a hash table with chains.
#include "runtime/prefix_tree.h"

#include <algorithm>
#include <utility>

namespace millrace {

namespace {

// Both halves of a product of 64 bits: each bit of the factors reaches every bit of the result.
uint64_t fold_product(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

uint64_t hash_tokens(uint64_t seed, uint64_t parent, std::span<const int32_t> tokens) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio
  uint64_t hash = fold_product(parent ^ seed, kOdd);
  for (const int32_t token : tokens)
    hash = fold_product(hash ^ seed ^ static_cast<uint32_t>(token), kOdd) + hash;
  return hash;
}

PrefixTree::PrefixTree(int64_t block_size, uint64_t seed, PrefixHash hash)
    : block_size_(block_size), seed_(seed), hash_(hash), buckets_(64, kNoNode) {}

NodeId PrefixTree::find_root(const PrefixScope& scope) const {
  const auto found = roots_.find(scope);
  return found == roots_.end() ? kNoNode : found->second;
}

NodeId PrefixTree::hold_root(const PrefixScope& scope) {
  const auto [entry, is_new] = roots_.try_emplace(scope, kNoNode);
  if (is_new) {
    entry->second = make_node(kNoNode, hash_(seed_, ++num_roots_made_, {}));
    scope_of_root_[entry->second] = &entry->first;
  }
  hold(entry->second);
  return entry->second;
}

std::span<const int32_t> PrefixTree::tokens_of(NodeId node) const {
  return std::span(tokens_).subspan(static_cast<size_t>(node * block_size_),
                                    static_cast<size_t>(block_size_));
}

NodeId PrefixTree::find(NodeId parent, std::span<const int32_t> tokens) const {
  return find(parent, hash_(seed_, at(parent).hash, tokens), tokens);
}

NodeId PrefixTree::find(NodeId parent, uint64_t hash, std::span<const int32_t> tokens) const {
  CHECK(static_cast<int64_t>(tokens.size()) == block_size_);
  for (NodeId node = buckets_[bucket_of(hash)]; node != kNoNode; node = at(node).next) {
    if (at(node).hash == hash && at(node).parent == parent &&
        std::ranges::equal(tokens_of(node), tokens))
      return node;
  }
  return kNoNode;
}

NodeId PrefixTree::hold_child(NodeId parent, std::span<const int32_t> tokens) {
  const uint64_t hash = hash_(seed_, at(parent).hash, tokens);
  NodeId node = find(parent, hash, tokens);
  if (node == kNoNode) {
    if (num_nodes() >= static_cast<int64_t>(buckets_.size())) grow_buckets();
    node = make_node(parent, hash);
    std::ranges::copy(tokens, &tokens_[static_cast<size_t>(node * block_size_)]);
    hold(parent);
    NodeId& head = buckets_[bucket_of(hash)];
    at(node).next = std::exchange(head, node);
  }
  hold(node);
  return node;
}

NodeId PrefixTree::make_node(NodeId parent, uint64_t hash) {
  if (unused_.empty()) {
    unused_.push_back(static_cast<NodeId>(nodes_.size()));
    nodes_.emplace_back();
    tokens_.resize(tokens_.size() + static_cast<size_t>(block_size_));
  }
  const NodeId node = unused_.back();
  unused_.pop_back();
  at(node) = {.parent = parent, .hash = hash, .is_alive = true};
  return node;
}

void PrefixTree::grow_buckets() {
  buckets_.assign(2 * buckets_.size(), kNoNode);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_[i].is_alive || nodes_[i].parent == kNoNode) continue;
    NodeId& head = buckets_[bucket_of(nodes_[i].hash)];
    nodes_[i].next = std::exchange(head, static_cast<NodeId>(i));
  }
}

void PrefixTree::drop(NodeId node) {
  CHECK(at(node).num_holders > 0, "node {} is not held", node);
  --at(node).num_holders;
  collect(node);
}

void PrefixTree::set_device_block(NodeId node, BlockId block) {
  at(node).device_block = block;
  collect(node);
}

void PrefixTree::set_host_block(NodeId node, BlockId block) {
  at(node).host_block = block;
  collect(node);
}

// Forgets the node, and the ancestors that only it kept alive.
void PrefixTree::collect(NodeId node) {
  while (node != kNoNode && at(node).num_holders == 0 && !has_block(node)) {
    const NodeId parent = at(node).parent;
    unlink(node);
    at(node).is_alive = false;
    unused_.push_back(node);
    if (parent != kNoNode) --at(parent).num_holders;
    node = parent;
  }
}

void PrefixTree::unlink(NodeId node) {
  if (at(node).parent == kNoNode) {
    const auto scope = scope_of_root_.find(node);
    roots_.erase(*scope->second);
    scope_of_root_.erase(scope);
    return;
  }
  NodeId* link = &buckets_[bucket_of(at(node).hash)];
  while (*link != node) link = &at(*link).next;
  *link = at(node).next;
}

void PrefixTree::check_integrity(std::span<const NodeId> held) const {
  std::vector<int32_t> num_holders(nodes_.size());
  for (const NodeId node : held) ++num_holders.at(static_cast<size_t>(node));
  int64_t num_alive = 0;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    if (!node.is_alive) continue;
    ++num_alive;
    CHECK(node.num_holders > 0 || has_block(static_cast<NodeId>(i)), "node {} has no reason", i);
    if (node.parent == kNoNode) continue;
    CHECK(at(node.parent).is_alive, "node {} outlived its parent {}", i, node.parent);
    ++num_holders[static_cast<size_t>(node.parent)];
    CHECK(find(node.parent, tokens_of(static_cast<NodeId>(i))) == static_cast<NodeId>(i),
          "node {} is not found", i);
  }
  CHECK(num_alive == num_nodes());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    CHECK(nodes_[i].num_holders == num_holders[i], "node {} has {} holders, {} were counted", i,
          num_holders[i], nodes_[i].num_holders);
  }
  CHECK(roots_.size() == scope_of_root_.size());
  for (const auto& [scope, root] : roots_) {
    CHECK(at(root).is_alive && at(root).parent == kNoNode);
    CHECK(scope_of_root_.at(root) == &scope);
  }
}

}  // namespace millrace
