// From tensors to raw pointers: which kernel each op calls.
#include "ops/cpu/cpu_ops.h"

#include "kernels/cpu/attention.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/norm.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/sampling.h"
#include "ops/cpu/cpu_arguments.h"

namespace millrace {

namespace {

struct CpuPreparedWeight : PreparedWeight {
  cpu::PackedWeight packed;  // in memory of the ops
};

cpu::PoolingMode pooling(PoolingMode mode) {
  switch (mode) {
    case PoolingMode::kCls: return cpu::PoolingMode::kFirst;
    case PoolingMode::kMean: return cpu::PoolingMode::kMean;
    case PoolingMode::kLastToken: return cpu::PoolingMode::kLast;
  }
  CHECK(false, "pooling mode {}", static_cast<int>(mode));
}

cpu::NormWeights norm_weights(const LayerNorm& norm) {
  return {.gamma = floats(norm.weight), .beta = floats(norm.bias), .eps = norm.eps};
}

// Where the normed rows go when they are not the residual rows themselves.
uint16_t* bf16_rows(const HiddenStates& hidden) {
  if (hidden.normed.values.data == hidden.residual.data) return nullptr;
  CHECK(hidden.normed.format.dtype == DType::kBF16, "{}", to_string(hidden.normed.values));
  return static_cast<uint16_t*>(hidden.normed.values.data);
}

bool is_aligned(const void* data) {
  return reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
}

}  // namespace

CpuOps::CpuOps(ThreadPool& pool, cpu::Isa isa, Precision precision, int64_t arena_bytes)
    : CpuOps(pool, isa, precision, Buffer::host(arena_bytes)) {}

CpuOps::CpuOps(ThreadPool& pool, cpu::Isa isa, Precision precision, Buffer arena)
    : OpsContext(Device{}, precision, Arena(arena.data(), arena.bytes(), Device{})),
      pool_(pool),
      kernels_(cpu::kernels_for(isa)),
      arena_memory_(std::move(arena)) {
  if (precision.product == DType::kBF16 && !cpu::has_bf16_products(isa)) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("dtype bf16 needs a CPU with AVX512_BF16 (this one offers {})", to_string(isa)),
        "use --dtype fp32");
  }
}

Tensor CpuOps::place(const Tensor& host) {
  return !host.data || (host.dtype == DType::kF32 && is_aligned(host.data)) ? host
                                                                            : place_copy(host);
}

Tensor CpuOps::place_copy(const Tensor& host) {
  void* copy = allocate_weight(host.numel() * size_of(DType::kF32));
  cpu::convert(kernels_, pool_, host.data, host.dtype, copy, DType::kF32, host.numel());
  return Tensor::contiguous(copy, DType::kF32, host.shape);
}

// Blocks are large so that weights share huge pages.
void* CpuOps::allocate_weight(int64_t bytes) {
  constexpr int64_t kBlockBytes = 16 * 1024 * 1024;
  if (weight_memory_.empty() ||
      weight_block_.used() + bytes + Arena::kAlignment > weight_block_.capacity()) {
    const Buffer& block =
        weight_memory_.emplace_back(Buffer::host(std::max(kBlockBytes, bytes + Arena::kAlignment)));
    weight_block_ = Arena(block.data(), block.bytes(), Device{});
  }
  return weight_block_.allocate(DType::kU8, {bytes}).data;
}

void CpuOps::prepare(Linear& linear) {
  // A weight that was stored in bf16 stays so: half the bytes, the same products.
  const bool is_bf16 = precision().product == DType::kBF16 || linear.weight.dtype == DType::kBF16;
  const cpu::Factors factors{.x = precision().product,
                             .weight = is_bf16 ? DType::kBF16 : DType::kF32};
  const int64_t n = linear.out_features();
  const int64_t k = linear.in_features();
  auto prepared = std::make_shared<CpuPreparedWeight>();
  prepared->packed =
      cpu::pack_weight(kernels_, pool_, factors, linear.weight.data, linear.weight.dtype, n, k,
                       allocate_weight(cpu::packed_weight_bytes(kernels_, factors, n, k)));
  linear.prepared = std::move(prepared);
  linear.weight.data = nullptr;
  linear.input = {.dtype = factors.x};
  if (linear.bias) linear.bias = place_copy(*linear.bias);
}

void CpuOps::run_embed(const Batch& batch, const EmbeddingTables& tables, const LayerNorm& norm,
                       const HiddenStates& out) {
  const auto table = [](const std::optional<Tensor>& rows, const std::vector<int32_t>& indices) {
    return rows ? cpu::EmbeddingTable{.table = floats(*rows), .indices = indices.data()}
                : cpu::EmbeddingTable{};
  };
  cpu::embed(
      kernels_, pool_,
      {.rows = out.residual.rows(),
       .width = out.residual.columns(),
       .tables = {table(tables.word, batch.token_ids), table(tables.position, batch.position_ids),
                  table(tables.token_type, batch.token_type_ids)},
       .norm = norm_weights(norm),
       .out = mutable_floats(out.residual),
       .out_stride = out.residual.row_stride,
       .bf16_out = bf16_rows(out),
       .bf16_out_stride = out.normed.values.row_stride});
}

void CpuOps::run_linear(const Activation& x, const Linear& linear, ActivationFunction f,
                        const Tensor& out) {
  const auto* prepared = dynamic_cast<const CpuPreparedWeight*>(linear.prepared.get());
  CHECK(prepared, "the weight was not prepared for the CPU");
  cpu::gemm(kernels_, pool_,
            {.m = x.values.rows(),
             .weight = prepared->packed,
             .x = x.values.data,
             .x_stride = x.values.row_stride,
             .bias = linear.bias ? floats(*linear.bias) : nullptr,
             .epilogue = epilogue(f),
             .out = out.data,
             .out_stride = out.row_stride,
             .out_dtype = out.dtype});
}

void CpuOps::run_convert(const Tensor& x, const Tensor& out) {
  cpu::convert_rows(kernels_, pool_,
                    {.rows = x.rows(),
                     .width = x.columns(),
                     .x = x.data,
                     .x_stride = x.row_stride,
                     .x_dtype = x.dtype,
                     .out = out.data,
                     .out_stride = out.row_stride,
                     .out_dtype = out.dtype});
}

void CpuOps::run_add_layer_norm(const HiddenStates& hidden, const Activation& delta,
                                const LayerNorm& norm) {
  cpu::layer_norm(kernels_, pool_,
                  {.rows = hidden.residual.rows(),
                   .width = hidden.residual.columns(),
                   .x = floats(hidden.residual),
                   .x_stride = hidden.residual.row_stride,
                   .delta = floats(delta.values),
                   .delta_stride = delta.values.row_stride,
                   .norm = norm_weights(norm),
                   .out = mutable_floats(hidden.residual),
                   .out_stride = hidden.residual.row_stride,
                   .bf16_out = bf16_rows(hidden),
                   .bf16_out_stride = hidden.normed.values.row_stride});
}

void CpuOps::run_attention(const Tensor& qkv, const Batch& batch, const AttentionShape& shape,
                           const Tensor& out) {
  const int64_t width = shape.num_heads * shape.head_dim;
  const float* base = floats(qkv);
  cpu::attention(kernels_, pool_,
                 {.q = base,
                  .q_stride = qkv.row_stride,
                  .k = base + width,
                  .k_stride = qkv.row_stride,
                  .v = base + 2 * width,
                  .v_stride = qkv.row_stride,
                  .cu_seqlens = batch.cu_seqlens.data(),
                  .num_seqs = batch.num_sequences(),
                  .num_heads = shape.num_heads,
                  .num_kv_heads = shape.num_heads,
                  .head_dim = shape.head_dim,
                  .scale = shape.scale,
                  .out = out.data,
                  .out_stride = out.row_stride,
                  .out_dtype = out.dtype});
}

void CpuOps::run_pool(const Tensor& hidden, const Batch& batch, PoolingMode mode,
                      const Tensor& out) {
  cpu::pool_rows(kernels_, pool_,
                 {.mode = pooling(mode),
                  .x = floats(hidden),
                  .x_stride = hidden.row_stride,
                  .width = hidden.columns(),
                  .cu_seqlens = batch.cu_seqlens.data(),
                  .num_seqs = batch.num_sequences(),
                  .out = mutable_floats(out),
                  .out_stride = out.row_stride});
}

void CpuOps::run_normalize_rows(const Tensor& out) {
  cpu::l2_normalize(kernels_, pool_,
                    {.x = mutable_floats(out),
                     .rows = out.rows(),
                     .width = out.columns(),
                     .stride = out.row_stride});
}

void CpuOps::run_sample(const Tensor& logits, const SamplingBatch& batch,
                        const SampledTokens& out) {
  const auto num_rows = static_cast<size_t>(batch.num_rows());
  std::vector<cpu::TokenBias> biases(batch.biases.size());
  for (size_t i = 0; i < biases.size(); ++i)
    biases[i] = {.token = batch.bias_tokens[i], .bias = batch.biases[i]};
  std::vector<cpu::TokenCount> counts(batch.counts.size());
  for (size_t i = 0; i < counts.size(); ++i)
    counts[i] = {.token = batch.counted_tokens[i], .count = batch.counts[i]};
  const auto part = [](const auto& all, const std::vector<int32_t>& cu, size_t i) {
    return std::span(all).subspan(static_cast<size_t>(cu[i]),
                                  static_cast<size_t>(cu[i + 1] - cu[i]));
  };
  std::vector<cpu::SampleRow> rows;
  for (size_t i = 0; i < num_rows; ++i) {
    rows.push_back({.logits_row = batch.logits_rows[i],
                    .temperature = batch.temperatures[i],
                    .top_k = batch.top_ks[i],
                    .top_p = batch.top_ps[i],
                    .min_p = batch.min_ps[i],
                    .repetition_penalty = batch.repetition_penalties[i],
                    .presence_penalty = batch.presence_penalties[i],
                    .frequency_penalty = batch.frequency_penalties[i],
                    .seed = batch.seeds[i],
                    .position = batch.positions[i],
                    .biases = part(biases, batch.cu_biases, i),
                    .counts = part(counts, batch.cu_counts, i),
                    .mask = batch.mask_begins[i] < 0
                                ? nullptr
                                : &batch.masks[static_cast<size_t>(batch.mask_begins[i])],
                    .num_top = batch.num_logprobs[i],
                    .given_token = batch.given_tokens[i]});
  }
  sampling_scratch_.resize(static_cast<size_t>(pool_.num_threads() * logits.columns()));
  cpu::sample(pool_, {.logits = floats(logits),
                      .logits_stride = logits.row_stride,
                      .vocab = logits.columns(),
                      .rows = rows,
                      .scratch = sampling_scratch_.data(),
                      .top_stride = out.top_tokens.columns(),
                      .tokens = static_cast<int32_t*>(out.tokens.data),
                      .logprobs = mutable_floats(out.logprobs),
                      .ranks = static_cast<int32_t*>(out.ranks.data),
                      .top_tokens = static_cast<int32_t*>(out.top_tokens.data),
                      .top_logprobs = mutable_floats(out.top_logprobs)});
  sampled_tokens_ = static_cast<const int32_t*>(out.tokens.data);
}

}  // namespace millrace
