// The life of a block: free, used, cached, and to host memory and back.
#include "runtime/cache_group.h"

#include <algorithm>

namespace millrace {

namespace {

// All blocks of a pool, the lowest on top.
std::vector<BlockId> all_blocks(int64_t num_blocks) {
  std::vector<BlockId> blocks(static_cast<size_t>(num_blocks));
  for (size_t i = 0; i < blocks.size(); ++i)
    blocks[i] = static_cast<BlockId>(blocks.size() - 1 - i);
  return blocks;
}

}  // namespace

CacheGroup::CacheGroup(const CacheGroupConfig& config, size_t index, uint64_t seed, PrefixHash hash)
    : config_(config),
      index_(index),
      tree_(config.block_size, seed, hash),
      blocks_(static_cast<size_t>(config.num_blocks)),
      free_(all_blocks(config.num_blocks)),
      cached_(config.num_blocks),
      host_nodes_(static_cast<size_t>(config.num_host_blocks), kNoNode),
      host_free_(all_blocks(config.num_host_blocks)),
      host_cached_(config.num_host_blocks) {
  CHECK(config.block_size > 0 && config.num_blocks > 0);
  CHECK(config.num_host_blocks >= 0 && config.window >= 0);
}

BlockId CacheGroup::take() {
  if (free_.empty()) {
    CHECK(!cached_.empty(), "group {} has no block left", index_);
    evict(cached_.pop_oldest());
  }
  const BlockId block = free_.back();
  free_.pop_back();
  at(block) = {.num_users = 1};
  return block;
}

BlockId CacheGroup::copy(BlockId block) {
  CHECK(is_shared(block), "block {} has one user", block);
  const BlockId own = take();
  order(block, own, KvCopy::Kind::kWithinDevice);
  --at(block).num_users;
  return own;
}

void CacheGroup::give_up(BlockId block) {
  CHECK(at(block).num_users > 0, "block {} is not used", block);
  if (--at(block).num_users > 0) return;
  if (at(block).node == kNoNode) {
    free_.push_back(block);
  } else {
    cached_.push_newest(block);
  }
}

void CacheGroup::publish(BlockId block, NodeId node) {
  CHECK(at(block).num_users > 0 && at(block).node == kNoNode, "block {} holds a prefix", block);
  if (tree_.device_block(node) != kNoBlock) return;  // computed twice: the first one is shared
  at(block).node = node;
  tree_.set_device_block(node, block);
}

// --- host memory ---------------------------------------------------------------------------------

std::vector<BlockId> CacheGroup::acquire(std::span<const NodeId> nodes) {
  // First out of the lists, so that making room for one cannot evict another.
  for (const NodeId node : nodes) {
    if (const BlockId block = tree_.device_block(node); block != kNoBlock) {
      if (at(block).num_users++ == 0) cached_.remove(block);
    } else {
      host_cached_.remove(tree_.host_block(node));
    }
  }
  std::vector<BlockId> blocks;
  for (const NodeId node : nodes) {
    const BlockId block = tree_.device_block(node);
    blocks.push_back(block != kNoBlock ? block : load_from_host(node));
  }
  return blocks;
}

// The host block keeps its KV, and need not be written again when the device block is evicted.
BlockId CacheGroup::load_from_host(NodeId node) {
  const BlockId host_block = tree_.host_block(node);
  const BlockId block = take();
  order(host_block, block, KvCopy::Kind::kFromHost);
  at(block).node = node;
  tree_.set_device_block(node, block);
  host_cached_.push_newest(host_block);
  return block;
}

void CacheGroup::evict(BlockId block) {
  const NodeId node = std::exchange(at(block).node, kNoNode);
  ++num_evicted_;
  if (const BlockId copy = tree_.host_block(node); copy != kNoBlock) {
    host_cached_.remove(copy);
    host_cached_.push_newest(copy);
  } else {
    save_to_host(block, node);
  }
  tree_.set_device_block(node, kNoBlock);
  free_.push_back(block);
}

void CacheGroup::save_to_host(BlockId block, NodeId node) {
  if (host_free_.empty()) {
    if (host_cached_.empty()) return;
    const BlockId oldest = host_cached_.pop_oldest();
    tree_.set_host_block(std::exchange(host_nodes_[static_cast<size_t>(oldest)], kNoNode),
                         kNoBlock);
    host_free_.push_back(oldest);
  }
  const BlockId host_block = host_free_.back();
  host_free_.pop_back();
  order(block, host_block, KvCopy::Kind::kToHost);
  host_nodes_[static_cast<size_t>(host_block)] = node;
  tree_.set_host_block(node, host_block);
  host_cached_.push_newest(host_block);
}

// --- promises, figures, proof --------------------------------------------------------------------

bool CacheGroup::can_promise(int64_t num_blocks, int64_t num_shared) const {
  if (config_.window > 0) return num_promised_ + num_blocks <= config_.num_blocks;
  return num_promised_ + num_blocks - num_shared <= num_available();
}

CacheGroupStats CacheGroup::stats() const {
  return {.num_blocks = config_.num_blocks,
          .num_used = config_.num_blocks - num_available(),
          .num_cached = cached_.size(),
          .num_host_cached = host_cached_.size(),
          .num_evicted = num_evicted_};
}

void CacheGroup::check_integrity(std::span<const int32_t> num_users,
                                 std::span<const NodeId> held) const {
  tree_.check_integrity(held);
  std::vector<bool> is_free(blocks_.size());
  for (const BlockId block : free_) {
    CHECK(!is_free[static_cast<size_t>(block)], "block {} is free twice", block);
    is_free[static_cast<size_t>(block)] = true;
  }
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto block = static_cast<BlockId>(i);
    CHECK(at(block).num_users == num_users[i], "block {} has {} users, {} tables have it", i,
          at(block).num_users, num_users[i]);
    const int num_places =
        (num_users[i] > 0 ? 1 : 0) + (is_free[i] ? 1 : 0) + (cached_.contains(block) ? 1 : 0);
    CHECK(num_places == 1, "block {} is in {} places", i, num_places);
    const NodeId node = at(block).node;
    CHECK(!cached_.contains(block) || node != kNoNode, "block {} is cached for nothing", i);
    CHECK(!is_free[i] || node == kNoNode, "block {} is free with KV of node {}", i, node);
    CHECK(node == kNoNode || tree_.device_block(node) == block, "node {} is not in block {}", node,
          i);
  }
  CHECK(static_cast<int64_t>(host_free_.size()) + host_cached_.size() == config_.num_host_blocks);
  for (size_t i = 0; i < host_nodes_.size(); ++i) {
    const auto block = static_cast<BlockId>(i);
    const NodeId node = host_nodes_[i];
    CHECK(host_cached_.contains(block) == (node != kNoNode), "host block {}", i);
    CHECK(node == kNoNode || tree_.host_block(node) == block, "node {} is not in host block {}",
          node, i);
  }
  CHECK(num_promised_ >= 0);
}

}  // namespace millrace
