// Attention's work items, shared out over the pool by their cost.
#include "kernels/cpu/attention.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/cpu/kernel_table.h"

namespace millrace::cpu {

namespace {

// Packing the keys and values of a head costs about as much as this many queries.
constexpr int64_t kPackingQueries = 8;
// Queries of an item when there are too few heads and sequences to keep all threads busy.
constexpr int64_t kShortItemQueries = 64;
// Pairs of query and key, over all heads, that are done before another thread is awake.
constexpr int64_t kLeastSharedAttention = 256;

// Calls body(item, cost) for the items in order: by sequence, head, query.
template <typename Body>
void for_each_item(const AttentionArgs& args, int64_t item_queries, const Body& body) {
  for (int64_t s = 0; s < args.num_seqs; ++s) {
    AttentionItem item{.token_begin = args.cu_seqlens[s], .token_end = args.cu_seqlens[s + 1]};
    const int64_t length = item.token_end - item.token_begin;
    for (item.head = 0; item.head < args.num_heads; ++item.head) {
      for (int64_t query = 0; query < length; query = item.query_end) {
        item.query_begin = query;
        item.query_end = std::min(length, query + item_queries);
        body(item, length * (item.query_end - query + kPackingQueries));
      }
    }
  }
}

}  // namespace

void attention(const Kernels& kernels, ThreadPool& pool, const AttentionArgs& args) {
  CHECK(args.num_kv_heads == args.num_heads, "grouped heads are not supported");
  CHECK(args.head_dim >= 1 && args.head_dim <= kMaxHeadDim, "head_dim is {}", args.head_dim);
  const int64_t threads = pool.num_threads();
  const int64_t item_queries =
      args.num_seqs * args.num_heads >= 4 * threads ? kMaxItemQueries : kShortItemQueries;
  int64_t total = 0;
  for_each_item(args, item_queries, [&](const AttentionItem&, int64_t cost) { total += cost; });
  if (total <= kLeastSharedAttention || threads == 1) {
    for_each_item(args, item_queries,
                  [&](const AttentionItem& item, int64_t) { kernels.attention(args, item); });
    return;
  }
  // A thread takes the items whose middle lies in its part of the total cost.
  pool.run([&](int64_t thread) {
    const PartitionRange mine = partition(2 * total, threads, thread);
    int64_t before = 0;
    for_each_item(args, item_queries, [&](const AttentionItem& item, int64_t cost) {
      const int64_t middle = 2 * before + cost;
      if (middle >= mine.begin && middle < mine.end) kernels.attention(args, item);
      before += cost;
    });
  });
}

}  // namespace millrace::cpu
