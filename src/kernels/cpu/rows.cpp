// Kernels that treat each row or sequence by itself, shared out over the pool by rows.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/scalar_convert.h"

namespace millrace::cpu {

namespace {

// Elements worth a thread: about two microseconds of work on rows that are in the cache.
constexpr int64_t kRowGrain = 8 * 1024;

int64_t rows_per_thread(int64_t width) {
  return kRowGrain / (width > 0 ? width : 1) + 1;
}

void share_rows(ThreadPool& pool, const RowsArgs& args, RowsKernel kernel) {
  pool.parallel_ranges(args.rows, rows_per_thread(args.width),
                       [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
}

}  // namespace

void layer_norm(const Kernels& kernels, ThreadPool& pool, const LayerNormArgs& args) {
  pool.parallel_ranges(args.rows, rows_per_thread(args.width),
                       [&](int64_t begin, int64_t end) { kernels.layer_norm(args, begin, end); });
}

void embed(const Kernels& kernels, ThreadPool& pool, const EmbedArgs& args) {
  pool.parallel_ranges(args.rows, rows_per_thread(args.width),
                       [&](int64_t begin, int64_t end) { kernels.embed(args, begin, end); });
}

void pool_rows(const Kernels& kernels, ThreadPool& pool, const PoolArgs& args) {
  if (args.num_seqs == 0) return;
  const int64_t tokens = args.cu_seqlens[args.num_seqs] - args.cu_seqlens[0];
  const int64_t tokens_per_seq = tokens / args.num_seqs + 1;
  pool.parallel_ranges(args.num_seqs, rows_per_thread(args.width * tokens_per_seq),
                       [&](int64_t begin, int64_t end) { kernels.pool_rows(args, begin, end); });
}

void l2_normalize(const Kernels& kernels, ThreadPool& pool, const RowsArgs& args) {
  share_rows(pool, args, kernels.l2_normalize);
}

void rms_norm(const Kernels& kernels, ThreadPool& pool, const RmsNormArgs& args) {
  pool.parallel_ranges(args.rows, rows_per_thread(args.width),
                       [&](int64_t begin, int64_t end) { kernels.rms_norm(args, begin, end); });
}

void act_and_mul(const Kernels& kernels, ThreadPool& pool, const ActAndMulArgs& args) {
  pool.parallel_ranges(args.rows, rows_per_thread(args.width),
                       [&](int64_t begin, int64_t end) { kernels.act_and_mul(args, begin, end); });
}

void scale_and_cap(const Kernels& kernels, ThreadPool& pool, const ScaleAndCapArgs& args) {
  pool.parallel_ranges(args.rows, rows_per_thread(args.width), [&](int64_t begin, int64_t end) {
    kernels.scale_and_cap(args, begin, end);
  });
}

void embed_tokens(ThreadPool& pool, const EmbedTokensArgs& args) {
  const auto work = [&](int64_t begin, int64_t end) {
    with_reader(args.table, args.table_dtype, [&](const auto& read) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t first = args.indices[r] * args.width;
        float* out = args.out + r * args.out_stride;
        for (int64_t j = 0; j < args.width; ++j) out[j] = args.scale * read(first + j);
      }
    });
  };
  pool.parallel_ranges(args.rows, rows_per_thread(args.width), work);
}

void softmax(const Kernels& kernels, ThreadPool& pool, const RowsArgs& args) {
  share_rows(pool, args, kernels.softmax);
}

void sigmoid(const Kernels& kernels, ThreadPool& pool, const RowsArgs& args) {
  share_rows(pool, args, kernels.sigmoid);
}

}  // namespace millrace::cpu
