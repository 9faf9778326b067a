// How many blocks a KV cache gets: arithmetic over the bytes that it may take.
#pragma once

#include <string>

#include "ops/kv_cache.h"
#include "runtime/decode_scheduler.h"

namespace millrace {

struct KvCacheBudget {
  int64_t bytes = 0;       // of the device's memory
  int64_t host_bytes = 0;  // beside it, for blocks that make room; 0: what is evicted is lost
  std::string origin;      // in words: "0.90 of the 70.0 GiB that are free on cuda:0 (...)"
  std::string remedy;      // how it becomes more
};

struct KvCachePlan {
  KvCacheSize size;
  int64_t bytes = 0;       // that the blocks take
  int64_t host_bytes = 0;  // likewise

  // What a BlockManager is made of, but for its seed.
  BlockManagerConfig blocks(const KvCacheSpec& spec) const;
};

// Groups of layers share the bytes as a sequence of max_seq_len tokens would, and get no more
// blocks than max_batch_size of those can use. Throws Error{kUnsupported} when not one of them
// fits: how much it needs, how much there is, and up to which max_seq_len it would fit.
KvCachePlan plan_kv_cache(const KvCacheSpec& spec, DType dtype, int64_t block_size,
                          const DecodeLimits& limits, const KvCacheBudget& budget);

}  // namespace millrace
