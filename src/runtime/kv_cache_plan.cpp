// From bytes to blocks.
#include "runtime/kv_cache_plan.h"

#include <algorithm>

#include "base/error.h"

namespace millrace {

namespace {

double gib(int64_t bytes) {
  return static_cast<double>(bytes) / (int64_t{1} << 30);
}

struct Sizes {
  const KvCacheSpec& spec;
  DType dtype;
  int64_t block_size;
  const DecodeLimits& limits;

  int64_t bytes_per_block(size_t group) const {
    return block_size * spec.bytes_per_token(group, dtype);
  }

  // Of a sequence that grows to `length`: as DecodeScheduler::check() counts it.
  int64_t blocks_of_sequence(size_t group, int64_t length) const {
    const int64_t step = limits.max_steps_in_flight * std::min(limits.max_num_tokens, length);
    return max_blocks_held({.block_size = block_size, .window = spec.groups[group].window}, length,
                           step);
  }

  int64_t bytes_of_sequence(int64_t length) const {
    int64_t bytes = 0;
    for (size_t group = 0; group < spec.groups.size(); ++group)
      bytes += blocks_of_sequence(group, length) * bytes_per_block(group);
    return bytes;
  }

  int64_t longest_that_fits(int64_t bytes) const {
    int64_t fits = 0, too_long = limits.max_seq_len + 1;
    while (too_long - fits > 1) {
      const int64_t middle = fits + (too_long - fits) / 2;
      (bytes_of_sequence(middle) <= bytes ? fits : too_long) = middle;
    }
    return fits;
  }
};

[[noreturn]] void refuse(const Sizes& sizes, const KvCacheBudget& budget) {
  const int64_t fits = sizes.longest_that_fits(budget.bytes);
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format(
          "one sequence of max_seq_len = {} tokens needs {:.2f} GiB of KV cache, and it may "
          "have {:.2f} GiB: {}",
          sizes.limits.max_seq_len, gib(sizes.bytes_of_sequence(sizes.limits.max_seq_len)),
          gib(budget.bytes), budget.origin),
      fits > 1 ? fmt::format("lower max_seq_len to at most {}, or {}", fits, budget.remedy)
               : budget.remedy);
}

}  // namespace

BlockManagerConfig KvCachePlan::blocks(const KvCacheSpec& spec) const {
  BlockManagerConfig config;
  for (size_t group = 0; group < spec.groups.size(); ++group)
    config.groups.push_back(
        {.block_size = size.block_size,
         .num_blocks = size.num_blocks[group],
         .num_host_blocks = size.num_host_blocks.empty() ? 0 : size.num_host_blocks[group],
         .window = spec.groups[group].window});
  return config;
}

KvCachePlan plan_kv_cache(const KvCacheSpec& spec, DType dtype, int64_t block_size,
                          const DecodeLimits& limits, const KvCacheBudget& budget) {
  const Sizes sizes{.spec = spec, .dtype = dtype, .block_size = block_size, .limits = limits};
  const int64_t one = sizes.bytes_of_sequence(limits.max_seq_len);
  if (one > budget.bytes) refuse(sizes, budget);
  KvCachePlan plan{.size = {.block_size = block_size}};
  const int64_t most_blocks = INT32_MAX / block_size;  // slots are numbered in 32 bits
  for (size_t group = 0; group < spec.groups.size(); ++group) {
    const int64_t of_sequence = sizes.blocks_of_sequence(group, limits.max_seq_len);
    const auto share = [&](int64_t bytes) {
      return static_cast<int64_t>(static_cast<double>(bytes) / static_cast<double>(one) *
                                  static_cast<double>(of_sequence));
    };
    const int64_t usable = std::min(limits.max_batch_size * of_sequence, most_blocks);
    plan.size.num_blocks.push_back(std::clamp(share(budget.bytes), of_sequence, usable));
    plan.bytes += plan.size.num_blocks.back() * sizes.bytes_per_block(group);
    if (budget.host_bytes == 0) continue;
    plan.size.num_host_blocks.push_back(std::min(share(budget.host_bytes), most_blocks));
    plan.host_bytes += plan.size.num_host_blocks.back() * sizes.bytes_per_block(group);
  }
  return plan;
}

}  // namespace millrace
