// The ops of decoders on the CPU: from tensors to raw pointers.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/decoder_rows.h"
#include "kernels/cpu/paged_kv.h"
#include "ops/cpu/cpu_arguments.h"
#include "ops/cpu/cpu_ops.h"

namespace millrace {

namespace {

cpu::RmsWeights rms_weights(const RmsNorm* norm) {
  if (!norm) return {};
  return {.gamma = floats(norm->weight), .offset = norm->offset, .eps = norm->eps};
}

int64_t bytes_of(const KvCacheSpec& spec, const std::vector<int64_t>& num_blocks,
                 int64_t block_size) {
  int64_t bytes = cpu::kKvSlack * size_of(DType::kF32);
  for (size_t group = 0; group < num_blocks.size(); ++group)
    bytes += num_blocks[group] * block_size * spec.bytes_per_token(group, DType::kF32);
  return bytes;
}

// A row costs tens of nanoseconds an angle.
constexpr int64_t kRowsPerThread = 16;

}  // namespace

Tensor CpuOps::place_table(const Tensor& host) {
  const auto alignment = static_cast<uintptr_t>(size_of(host.dtype));
  const bool aligned = reinterpret_cast<uintptr_t>(host.data) % alignment == 0;
  return !host.data || aligned ? host : place_copy(host);
}

void CpuOps::allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& size) {
  CHECK(size.block_size > 0 && size.block_size % cpu::kKeyPanel == 0, "blocks of {} positions",
        size.block_size);
  CHECK(size.num_blocks.size() == spec.groups.size(), "{} of {} cache groups have blocks",
        size.num_blocks.size(), spec.groups.size());
  KvCache cache{.spec = spec, .size = size};
  cache.memory = Buffer::host(bytes_of(spec, size.num_blocks, size.block_size));
  cache.layers = lay_out_kv(spec, size.num_blocks, size.block_size, cache.dtype,
                            cache.memory.data(), device());
  if (!size.num_host_blocks.empty()) {
    cache.host_memory = Buffer::host(bytes_of(spec, size.num_host_blocks, size.block_size));
    cache.host_layers = lay_out_kv(spec, size.num_host_blocks, size.block_size, cache.dtype,
                                   cache.host_memory.data(), device());
  }
  kv_cache_ = std::move(cache);
}

void CpuOps::run_copy_kv_blocks(std::span<const KvCopy> copies) {
  for (const KvCopy& copy : copies) {
    const auto& from =
        copy.kind == KvCopy::Kind::kFromHost ? kv_cache_.host_layers : kv_cache_.layers;
    const auto& to = copy.kind == KvCopy::Kind::kToHost ? kv_cache_.host_layers : kv_cache_.layers;
    for (size_t i = 0; i < from.size(); ++i) {
      if (from[i].group != copy.group) continue;
      const auto copy_block = [&](const Tensor& source, const Tensor& target) {
        const auto bytes = static_cast<size_t>(source.row_stride * size_of(source.dtype));
        std::memcpy(static_cast<std::byte*>(target.data) + static_cast<size_t>(copy.to) * bytes,
                    static_cast<std::byte*>(source.data) + static_cast<size_t>(copy.from) * bytes,
                    bytes);
      };
      copy_block(from[i].k, to[i].k);
      copy_block(from[i].v, to[i].v);
    }
  }
}

cpu::PagedKv CpuOps::paged_kv(size_t layer) const {
  const KvLayer& kv = kv_cache_.layers[layer];
  return {.k = mutable_floats(kv.k),
          .v = mutable_floats(kv.v),
          .num_kv_heads = kv.k.shape[1],
          .head_dim = kv.k.shape[3],
          .block_size = kv_cache_.size.block_size};
}

void CpuOps::run_embed_tokens(const Batch& batch, const Tensor& table, float scale,
                              const Tensor& out) {
  const auto known = [&](int32_t id) { return id >= 0 ? id : std::max(0, sampled_tokens_[~id]); };
  known_ids_.resize(batch.token_ids.size());
  std::ranges::transform(batch.token_ids, known_ids_.begin(), known);
  cpu::embed_tokens(pool_, {.rows = out.rows(),
                            .width = out.columns(),
                            .table = table.data,
                            .table_dtype = table.dtype,
                            .indices = known_ids_.data(),
                            .scale = scale,
                            .out = mutable_floats(out),
                            .out_stride = out.row_stride});
}

void CpuOps::run_rms_norm(const Tensor& x, const RmsNorm& norm, const Tensor& out) {
  cpu::rms_norm(kernels_, pool_,
                {.rows = x.rows(),
                 .width = x.columns(),
                 .x = mutable_floats(x),
                 .x_stride = x.row_stride,
                 .norm = rms_weights(&norm),
                 .out = out.data,
                 .out_stride = out.row_stride,
                 .out_dtype = out.dtype});
}

void CpuOps::run_add_rms_norm(const HiddenStates& hidden, const Activation& delta,
                              const ResidualAdd& add, const RmsNorm& norm) {
  const Tensor& x = hidden.residual;
  const Tensor& out = hidden.normed.values;
  cpu::rms_norm(kernels_, pool_,
                {.rows = x.rows(),
                 .width = x.columns(),
                 .x = mutable_floats(x),
                 .x_stride = x.row_stride,
                 .delta = floats(delta.values),
                 .delta_stride = delta.values.row_stride,
                 .delta_norm = rms_weights(add.norm),
                 .scale = add.scale,
                 .norm = rms_weights(&norm),
                 .out = out.data,
                 .out_stride = out.row_stride,
                 .out_dtype = out.dtype});
}

void CpuOps::run_act_and_mul(const Tensor& gate_up, ActivationFunction f, const Tensor& out) {
  cpu::act_and_mul(kernels_, pool_,
                   {.rows = out.rows(),
                    .width = out.columns(),
                    .x = floats(gate_up),
                    .x_stride = gate_up.row_stride,
                    .function = epilogue(f),
                    .out = out.data,
                    .out_stride = out.row_stride,
                    .out_dtype = out.dtype});
}

void CpuOps::run_gather_logits_rows(const Tensor& x, const Batch& batch, const Tensor& out) {
  const auto width = static_cast<size_t>(x.columns() * size_of(x.dtype));
  auto* to = static_cast<std::byte*>(out.data);
  for (const int32_t row : batch.logits_rows) {
    std::memcpy(to, static_cast<std::byte*>(x.data) + row * x.row_stride * size_of(x.dtype), width);
    to += out.row_stride * size_of(out.dtype);
  }
}

void CpuOps::run_scale_and_cap(const Tensor& out, float scale, float soft_cap) {
  cpu::scale_and_cap(kernels_, pool_,
                     {.rows = out.rows(),
                      .width = out.columns(),
                      .x = mutable_floats(out),
                      .stride = out.row_stride,
                      .scale = scale,
                      .soft_cap = soft_cap});
}

// Angles are products in fp32, as transformers has them: a longer type would be another model.
void CpuOps::run_rope_angles(const Batch& batch, const Rope& rope, const Tensor& out) {
  const auto half = static_cast<int64_t>(rope.inverse_frequencies.size());
  pool_.parallel_ranges(out.rows(), kRowsPerThread, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto position = static_cast<float>(batch.position_ids[static_cast<size_t>(row)]);
      float* cosines = mutable_floats(out) + row * out.row_stride;
      for (int64_t i = 0; i < half; ++i) {
        const float angle = position * rope.inverse_frequencies[static_cast<size_t>(i)];
        cosines[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * rope.scale;
        cosines[half + i] = static_cast<float>(std::sin(static_cast<double>(angle))) * rope.scale;
      }
    }
  });
}

void CpuOps::run_rope_and_write_kv(const Tensor& qkv, const Batch& batch, size_t layer,
                                   const HeadLayout& heads, const Rope& rope, const Tensor& angles,
                                   const RmsNorm* q_norm, const RmsNorm* k_norm) {
  cpu::rope_and_write_kv(kernels_, pool_,
                         {.rows = qkv.rows(),
                          .num_heads = heads.num_heads,
                          .qkv = mutable_floats(qkv),
                          .qkv_stride = qkv.row_stride,
                          .angles = floats(angles),
                          .angles_stride = angles.row_stride,
                          .rotary_dim = rope.rotary_dim(),
                          .interleaved = rope.interleaved,
                          .q_norm = rms_weights(q_norm),
                          .k_norm = rms_weights(k_norm),
                          .slots = batch.kv[kv_cache_.layers[layer].group].slot_mapping.data(),
                          .kv = paged_kv(layer)});
}

void CpuOps::run_paged_attention(const Tensor& qkv, const Batch& batch, size_t layer,
                                 const CausalAttention& attention, const Tensor& out) {
  const size_t group = kv_cache_.layers[layer].group;
  const KvBatch& table = batch.kv[group];
  cpu::paged_attention(kernels_, pool_,
                       {.q = floats(qkv),
                        .q_stride = qkv.row_stride,
                        .kv = paged_kv(layer),
                        .block_table = table.block_table.data(),
                        .table_width = table.table_width,
                        .cu_seqlens = batch.cu_seqlens.data(),
                        .kv_lengths = batch.kv_lengths.data(),
                        .num_seqs = batch.num_sequences(),
                        .num_heads = attention.heads.num_heads,
                        .window = kv_cache_.spec.groups[group].window,
                        .scale = attention.scale,
                        .soft_cap = attention.soft_cap,
                        .out = out.data,
                        .out_stride = out.row_stride,
                        .out_dtype = out.dtype});
}

}  // namespace millrace
