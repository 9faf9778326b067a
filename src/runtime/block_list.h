// BlockList: blocks in the order in which they were given up, oldest first; every operation is
// O(1).
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace millrace {

using BlockId = int32_t;  // of a pool, from 0
inline constexpr BlockId kNoBlock = -1;

// A doubly linked list through arrays over all blocks of a pool; a block is in it at most once.
class BlockList {
 public:
  explicit BlockList(int64_t num_blocks)
      : end_(static_cast<BlockId>(num_blocks)), links_(static_cast<size_t>(num_blocks) + 1) {
    for (Link& link : links_) link = {kNoBlock, kNoBlock};
    at(end_) = {end_, end_};
  }

  bool empty() const { return size_ == 0; }
  int64_t size() const { return size_; }
  bool contains(BlockId block) const { return at(block).next != kNoBlock; }
  BlockId oldest() const { return at(end_).next; }  // requires !empty()

  void push_newest(BlockId block) {
    CHECK(!contains(block), "block {} is in the list", block);
    const BlockId last = at(end_).previous;
    at(block) = {last, end_};
    at(last).next = block;
    at(end_).previous = block;
    ++size_;
  }

  void remove(BlockId block) {
    CHECK(contains(block), "block {} is not in the list", block);
    const Link link = at(block);
    at(link.previous).next = link.next;
    at(link.next).previous = link.previous;
    at(block) = {kNoBlock, kNoBlock};
    --size_;
  }

  BlockId pop_oldest() {
    const BlockId block = oldest();
    remove(block);
    return block;
  }

 private:
  struct Link {
    BlockId previous = kNoBlock;
    BlockId next = kNoBlock;
  };

  Link& at(BlockId block) { return links_[static_cast<size_t>(block)]; }
  const Link& at(BlockId block) const { return links_[static_cast<size_t>(block)]; }

  BlockId end_;  // stands before the oldest and behind the newest
  std::vector<Link> links_;
  int64_t size_ = 0;
};

}  // namespace millrace
