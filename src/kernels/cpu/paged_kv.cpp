// Rows and heads over paged keys and values, shared out over the pool by their cost.
#include "kernels/cpu/paged_kv.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/cpu/kernel_table.h"

namespace millrace::cpu {

namespace {

// Reading a key and its value costs about as much as using them for this many rows.
constexpr int64_t kReadingRows = 4;
// Pairs of row and key, over all heads, that are done before another thread is awake.
constexpr int64_t kLeastSharedPaged = 512;
constexpr int64_t kPagedGrain = 8 * 1024;  // elements worth a thread

// Calls body(item, cost) for the items in order: by sequence, head, row.
template <typename Body>
void for_each_item(const PagedAttentionArgs& args, const Body& body) {
  const int64_t group = args.num_heads / args.kv.num_kv_heads;
  for (int64_t s = 0; s < args.num_seqs; ++s) {
    const int64_t count = (args.cu_seqlens[s + 1] - args.cu_seqlens[s]) * group;
    for (int64_t head = 0; head < args.kv.num_kv_heads; ++head) {
      for (int64_t begin = 0; begin < count; begin += kPagedItemRows) {
        const int64_t end = std::min(count, begin + kPagedItemRows);
        const int64_t last = args.kv_lengths[s] - (count - end) / group;
        const int64_t seen =
            args.window > 0 ? std::min(last, args.window + (end - begin) / group) : last;
        body({.sequence = s, .kv_head = head, .begin = begin, .end = end},
             seen * (end - begin + kReadingRows));
      }
    }
  }
}

}  // namespace

void rope_and_write_kv(const Kernels& kernels, ThreadPool& pool, const RopeWriteArgs& args) {
  CHECK(args.kv.block_size % kKeyPanel == 0, "blocks of {}", args.kv.block_size);
  const int64_t width = (args.num_heads + 2 * args.kv.num_kv_heads) * args.kv.head_dim;
  pool.parallel_ranges(args.rows, kPagedGrain / width + 1, [&](int64_t begin, int64_t end) {
    kernels.rope_and_write_kv(args, begin, end);
  });
}

void paged_attention(const Kernels& kernels, ThreadPool& pool, const PagedAttentionArgs& args) {
  CHECK(args.kv.head_dim >= 1 && args.kv.head_dim <= kMaxHeadDim, "head_dim is {}",
        args.kv.head_dim);
  const int64_t threads = pool.num_threads();
  int64_t total = 0;
  for_each_item(args, [&](const PagedAttentionItem&, int64_t cost) { total += cost; });
  if (total <= kLeastSharedPaged || threads == 1) {
    for_each_item(args, [&](const PagedAttentionItem& item, int64_t) {
      kernels.paged_attention(args, item);
    });
    return;
  }
  // A thread takes the items whose middle lies in its part of the total cost.
  pool.run([&](int64_t thread) {
    const PartitionRange mine = partition(2 * total, threads, thread);
    int64_t before = 0;
    for_each_item(args, [&](const PagedAttentionItem& item, int64_t cost) {
      const int64_t middle = 2 * before + cost;
      if (middle >= mine.begin && middle < mine.end) kernels.paged_attention(args, item);
      before += cost;
    });
  });
}

}  // namespace millrace::cpu
