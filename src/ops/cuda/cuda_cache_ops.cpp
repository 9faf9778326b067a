// The cache of keys and values on a GPU, and the attention over it.
#include <algorithm>
#include <array>

#include "ops/cuda/cuda_arguments.h"
#include "ops/cuda/cuda_ops.h"

namespace millrace::cuda {

namespace {

constexpr int64_t kBlockGranule = 16;  // positions: a block begins on 16 bytes whatever the heads

int64_t bytes_of(const KvCacheSpec& spec, const std::vector<int64_t>& num_blocks,
                 int64_t block_size, DType dtype) {
  int64_t bytes = 0;
  for (size_t group = 0; group < num_blocks.size(); ++group)
    bytes += num_blocks[group] * block_size * spec.bytes_per_token(group, dtype);
  return bytes;
}

void require_memory(const GpuContext& context, int64_t bytes) {
  constexpr double kGiB = 1024.0 * 1024 * 1024;
  const int64_t available = context.free_bytes();
  if (bytes <= available) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("the cache of keys and values needs {:.2f} GiB of memory on {}, and "
                          "{:.2f} are free",
                          static_cast<double>(bytes) / kGiB, to_string(context.device()),
                          static_cast<double>(available) / kGiB),
              "lower kv_cache_free_gpu_mem_fraction or kv_cache_bytes, or free the GPU's memory");
}

// Whether a copy must wait for those that are already gathered: they may run in any order.
bool depends(const CopyBlocksArgs& args, int count, const KvCopy& copy, bool from_host,
             bool to_host) {
  if ((args.from_host != 0) != from_host || (args.to_host != 0) != to_host) return true;
  for (int i = 0; i < count; ++i) {
    const bool same_target = args.to[i] == copy.to;
    const bool reads_target = from_host == to_host && args.to[i] == copy.from;
    const bool overwrites_source = from_host == to_host && args.from[i] == copy.to;
    if (same_target || reads_target || overwrites_source) return true;
  }
  return false;
}

}  // namespace

void CudaOps::allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& size) {
  if (spec.layers.empty()) return;
  CHECK(size.block_size > 0 && size.block_size % kBlockGranule == 0, "blocks of {} positions",
        size.block_size);
  CHECK(size.num_blocks.size() == spec.groups.size(), "{} of {} cache groups have blocks",
        size.num_blocks.size(), spec.groups.size());
  context_->make_current();
  KvCache cache{.spec = spec, .size = size, .dtype = precision().hidden};
  const int64_t bytes = bytes_of(spec, size.num_blocks, size.block_size, cache.dtype);
  require_memory(*context_, bytes);
  cache.memory = context_->allocate(bytes);
  cache.layers = lay_out_kv(spec, size.num_blocks, size.block_size, cache.dtype,
                            cache.memory.data(), device());
  if (!size.num_host_blocks.empty()) {
    cache.host_memory = context_->allocate_pinned(
        bytes_of(spec, size.num_host_blocks, size.block_size, cache.dtype));
    cache.host_layers = lay_out_kv(spec, size.num_host_blocks, size.block_size, cache.dtype,
                                   cache.host_memory.data(), Device{});
  }

  const auto upload = [&](const void* from, int64_t count) {
    Buffer to = context_->allocate(count);
    MILLRACE_CUDA(context_->driver(),
                  copy(address_of(to.data()), address_of(from), static_cast<size_t>(count)));
    return to;
  };
  sides_.clear();
  num_sides_.clear();
  int64_t most_blocks = 0;
  int64_t most_heads = 0;
  for (size_t group = 0; group < spec.groups.size(); ++group) {
    std::vector<KvSide> sides;
    for (size_t i = 0; i < cache.layers.size(); ++i) {
      if (cache.layers[i].group != group) continue;
      const KvLayer host = cache.host_layers.empty() ? KvLayer{} : cache.host_layers[i];
      const auto add = [&](const Tensor& device_side, const Tensor& host_side) {
        sides.push_back({.device = device_side.data,
                         .host = host_side.data,
                         .block_bytes = device_side.row_stride * size_of(cache.dtype)});
      };
      add(cache.layers[i].k, host.k);
      add(cache.layers[i].v, host.v);
      most_heads = std::max(most_heads, spec.layers[i].num_kv_heads);
    }
    num_sides_.push_back(static_cast<int64_t>(sides.size()));
    sides_.push_back(upload(sides.data(), static_cast<int64_t>(sides.size() * sizeof(KvSide))));
    most_blocks = std::max(most_blocks, size.num_blocks[group]);
  }
  // Parts of split tiles, times heads: at most twice the blocks that keep a GPU busy, and a part
  // for each head where heads are more than those.
  const int64_t arrivals = 2 * (most_split_blocks(arch_) + most_heads);
  const std::vector<unsigned> zeros(static_cast<size_t>(arrivals), 0);
  arrivals_ = upload(zeros.data(), arrivals * static_cast<int64_t>(sizeof(unsigned)));
  const int64_t longest =
      max_seq_len_ > 0 ? (max_seq_len_ + size.block_size - 1) / size.block_size : most_blocks;
  steps_.reserve_cache(spec.groups.size(), longest + 1);
  kv_cache_ = std::move(cache);
}

void CudaOps::run_copy_kv_blocks(std::span<const KvCopy> copies) {
  context_->make_current();
  CopyBlocksArgs args;
  int count = 0;
  size_t group = 0;
  const auto flush = [&] {
    launch(copy_blocks_kernel(count, count > 0 ? num_sides_[group] : 0), args);
    count = 0;
  };
  for (const KvCopy& copy : copies) {
    const bool from_host = copy.kind == KvCopy::Kind::kFromHost;
    const bool to_host = copy.kind == KvCopy::Kind::kToHost;
    if (count == CopyBlocksArgs::kMaxCopies ||
        (count > 0 && (copy.group != group || depends(args, count, copy, from_host, to_host))))
      flush();
    group = copy.group;
    args.sides = static_cast<const KvSide*>(sides_[group].data());
    args.from_host = from_host ? 1 : 0;
    args.to_host = to_host ? 1 : 0;
    args.from[count] = copy.from;
    args.to[count] = copy.to;
    ++count;
  }
  flush();
}

void CudaOps::run_rope_and_write_kv(const Tensor& qkv, const Batch& batch, size_t layer,
                                    const HeadLayout& heads, const Rope& rope, const Tensor& angles,
                                    const RmsNorm* q_norm, const RmsNorm* k_norm) {
  const KvLayer& kv = kv_cache_.layers[layer];
  launch(rope_write_kernel(qkv.dtype, qkv.rows(), heads.num_heads, heads.num_kv_heads),
         RopeWriteArgs{.qkv = rows_of(qkv),
                       .angles = rows_of(angles),
                       .slots = device_batch(batch).slots[kv.group],
                       .keys = kv.k.data,
                       .values = kv.v.data,
                       .q_norm = rms_args(q_norm),
                       .k_norm = rms_args(k_norm),
                       .tokens = static_cast<int>(qkv.rows()),
                       .num_heads = static_cast<int>(heads.num_heads),
                       .num_kv_heads = static_cast<int>(heads.num_kv_heads),
                       .head_dim = static_cast<int>(heads.head_dim),
                       .rotary_dim = static_cast<int>(rope.rotary_dim()),
                       .interleaved = rope.interleaved ? 1 : 0,
                       .block_size = static_cast<int>(kv_cache_.size.block_size)});
}

void CudaOps::run_paged_attention(const Tensor& qkv, const Batch& batch, size_t layer,
                                  const CausalAttention& attention, const Tensor& out) {
  const size_t group = kv_cache_.layers[layer].group;
  const PagedLayer cached = {.type = qkv.dtype,
                             .heads = attention.heads,
                             .cache_group = group,
                             .window = kv_cache_.spec.groups[group].window,
                             .soft_cap = attention.soft_cap > 0};
  for (const PagedLaunch& paged : paged_launches(cached, arch_, deterministic_))
    launch_paged(paged, qkv, batch, layer, attention, out);
}

void CudaOps::launch_paged(const PagedLaunch& paged, const Tensor& qkv, const Batch& batch,
                           size_t layer, const CausalAttention& attention, const Tensor& out) {
  constexpr float kLog2E = 1.44269504088896341f;
  const HeadLayout& heads = attention.heads;
  const KvLayer& kv = kv_cache_.layers[layer];
  const ArenaScope scope(arena());
  const PagedWorkspace workspace = allocate_paged_workspace(arena(), paged, heads.num_kv_heads);
  const DevicePagedTiles tiles = steps_.paged_tiles(batch, paged.list);
  const bool capped = attention.soft_cap > 0;
  launch(
      paged.kernel.over(tiles.count, heads.num_kv_heads),
      PagedAttentionArgs{
          .qkv = rows_of(qkv),
          .out = rows_of(out),
          .keys = kv.k.data,
          .values = kv.v.data,
          .tiles = tiles.tiles,
          .numbers = device_batch(batch).numbers,
          .partials = static_cast<float*>(workspace.sums.data),
          .partial_stats = static_cast<float*>(workspace.stats.data),
          .arrivals = static_cast<unsigned*>(arrivals_.data()),
          .block_magic = (uint64_t{1} << 32) / static_cast<uint64_t>(kv_cache_.size.block_size) + 1,
          .num_kv_heads = static_cast<int>(heads.num_kv_heads),
          .group = static_cast<int>(heads.num_heads / heads.num_kv_heads),
          .head_dim = static_cast<int>(heads.head_dim),
          .block_size = static_cast<int>(kv_cache_.size.block_size),
          .window = static_cast<int>(paged.list.window),
          .scale =
              capped ? attention.scale * 2 * kLog2E / attention.soft_cap : attention.scale * kLog2E,
          .soft_cap = capped ? attention.soft_cap * kLog2E : 0});
}

}  // namespace millrace::cuda
