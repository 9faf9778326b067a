// Shape checks and outputs of the ops over paged keys and values.
#include "ops/cache_ops.h"

#include "tensor/shape_matcher.h"

namespace millrace {

namespace {

void check_norm(const RmsNorm* norm, std::string_view name, int64_t head_dim, Device device) {
  if (norm) ShapeMatcher("rope_and_write_kv", device).match(name, norm->weight, {head_dim});
}

}  // namespace

int64_t KvCacheSpec::bytes_per_token(size_t group, DType dtype) const {
  int64_t values = 0;
  for (const KvLayerSpec& layer : layers)
    if (layer.group == group) values += 2 * layer.num_kv_heads * layer.head_dim;
  return values * size_of(dtype);
}

int64_t KvCacheSpec::bytes_per_token(DType dtype) const {
  int64_t bytes = 0;
  for (size_t group = 0; group < groups.size(); ++group) bytes += bytes_per_token(group, dtype);
  return bytes;
}

std::vector<KvLayer> lay_out_kv(const KvCacheSpec& spec, const std::vector<int64_t>& num_blocks,
                                int64_t block_size, DType dtype, void* memory, Device device) {
  std::vector<KvLayer> layers;
  auto* next = static_cast<std::byte*>(memory);
  const auto take = [&](const Shape& shape) {
    const Tensor tensor = Tensor::contiguous(next, dtype, shape, device);
    if (next) next += tensor.bytes();
    return tensor;
  };
  for (const KvLayerSpec& layer : spec.layers) {
    const Shape shape{num_blocks[layer.group], layer.num_kv_heads, block_size, layer.head_dim};
    const Tensor k = take(shape);
    layers.push_back({.k = k, .v = take(shape), .group = layer.group});
  }
  return layers;
}

void CacheOps::copy_kv_blocks(std::span<const KvCopy> copies) {
  for (const KvCopy& copy : copies) {
    CHECK(copy.group < kv_cache_.size.num_blocks.size(), "copy_kv_blocks: group {}", copy.group);
    const auto count_of = [&](bool host) {
      const std::vector<int64_t>& counts =
          host ? kv_cache_.size.num_host_blocks : kv_cache_.size.num_blocks;
      return copy.group < counts.size() ? counts[copy.group] : 0;
    };
    const int64_t from = count_of(copy.kind == KvCopy::Kind::kFromHost);
    const int64_t to = count_of(copy.kind == KvCopy::Kind::kToHost);
    CHECK(copy.from >= 0 && copy.from < from && copy.to >= 0 && copy.to < to,
          "copy_kv_blocks: from {} of {} to {} of {}", copy.from, from, copy.to, to);
  }
  run_copy_kv_blocks(copies);
}

void CacheOps::check_slots(const Batch& batch, size_t group) const {
  const int64_t slots = kv_cache_.size.num_blocks.at(group) * kv_cache_.size.block_size;
  const std::vector<int32_t>& mapping = batch.kv.at(group).slot_mapping;
  CHECK(static_cast<int64_t>(mapping.size()) == batch.num_tokens(), "{} slots for {} rows",
        mapping.size(), batch.num_tokens());
  for (size_t row = 0; row < mapping.size(); ++row) {
    const bool padding = static_cast<int64_t>(row) >= batch.cu_seqlens.back();
    CHECK(mapping[row] < slots && (padding ? mapping[row] == -1 : mapping[row] >= 0),
          "slot {} of {}", mapping[row], slots);
  }
}

void CacheOps::check_block_table(const Batch& batch, size_t group) const {
  const KvBatch& table = batch.kv.at(group);
  const int64_t block_size = kv_cache_.size.block_size;
  const int64_t num_blocks = kv_cache_.size.num_blocks.at(group);
  const int64_t window = kv_cache_.spec.groups[group].window;
  const int64_t sequences = batch.num_sequences();
  CHECK(static_cast<int64_t>(batch.kv_lengths.size()) == sequences &&
            static_cast<int64_t>(table.block_table.size()) == sequences * table.table_width,
        "block tables of {} sequences", sequences);
  for (int64_t s = 0; s < sequences; ++s) {
    const auto index = static_cast<size_t>(s);
    const int64_t keys = batch.kv_lengths[index];
    const int64_t rows = batch.cu_seqlens[index + 1] - batch.cu_seqlens[index];
    if (rows == 0) continue;
    CHECK(rows >= 1 && rows <= keys && keys <= table.table_width * block_size,
          "{} rows, {} keys in {} blocks", rows, keys, table.table_width);
    const int64_t first = window > 0 ? std::max<int64_t>(0, keys - rows - window + 1) : 0;
    for (int64_t i = first / block_size; i * block_size < keys; ++i) {
      const int32_t block = table.block_table[static_cast<size_t>(s * table.table_width + i)];
      CHECK(block >= 0 && block < num_blocks, "block {} of {}", block, num_blocks);
    }
  }
}

Tensor CacheOps::rope_angles(const Batch& batch, const Rope& rope) {
  const Tensor out = arena().allocate(DType::kF32, {batch.num_tokens(), rope.rotary_dim()});
  run_rope_angles(batch, rope, out);
  return out;
}

void CacheOps::rope_and_write_kv(const Tensor& qkv, const Batch& batch, size_t layer,
                                 const HeadLayout& heads, const Rope& rope, const Tensor& angles,
                                 const RmsNorm* q_norm, const RmsNorm* k_norm) {
  CHECK(layer < kv_cache_.layers.size(), "rope_and_write_kv: layer {} of {}", layer,
        kv_cache_.layers.size());
  const KvLayer& kv = kv_cache_.layers[layer];
  ShapeMatcher match("rope_and_write_kv", device());
  match.match("qkv", qkv, {batch.num_tokens(), heads.width()})
      .match("angles", angles, {batch.num_tokens(), rope.rotary_dim()})
      .match("k", kv.k, {"blocks", heads.num_kv_heads, kv_cache_.size.block_size, heads.head_dim});
  CHECK(rope.rotary_dim() <= heads.head_dim, "rope_and_write_kv: {} of {} elements are rotated",
        rope.rotary_dim(), heads.head_dim);
  check_norm(q_norm, "q_norm", heads.head_dim, device());
  check_norm(k_norm, "k_norm", heads.head_dim, device());
  check_slots(batch, kv.group);
  run_rope_and_write_kv(qkv, batch, layer, heads, rope, angles, q_norm, k_norm);
}

Activation CacheOps::paged_attention(const Tensor& qkv, const Batch& batch, size_t layer,
                                     const CausalAttention& attention,
                                     const ActivationFormat& consumer) {
  CHECK(layer < kv_cache_.layers.size(), "paged_attention: layer {} of {}", layer,
        kv_cache_.layers.size());
  const HeadLayout& heads = attention.heads;
  const KvLayer& kv = kv_cache_.layers[layer];
  ShapeMatcher match("paged_attention", device());
  match.match("qkv", qkv, {batch.num_tokens(), heads.width()})
      .match("k", kv.k, {"blocks", heads.num_kv_heads, kv_cache_.size.block_size, heads.head_dim});
  CHECK(qkv.dtype == precision().hidden, "paged_attention: qkv is {}", to_string(qkv));
  CHECK(heads.num_heads % heads.num_kv_heads == 0, "paged_attention: {} heads of {}",
        heads.num_heads, heads.num_kv_heads);
  check_block_table(batch, kv.group);
  const Activation out = {
      .values = arena().allocate(consumer.dtype, {batch.num_tokens(), heads.q_width()}),
      .format = consumer};
  run_paged_attention(qkv, batch, layer, attention, out.values);
  return out;
}

}  // namespace millrace
