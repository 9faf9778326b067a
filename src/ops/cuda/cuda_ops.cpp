// From tensors to arguments of kernels.
#include "ops/cuda/cuda_ops.h"

#include <algorithm>

#include "kernels/cuda/kernel_args.h"

namespace millrace::cuda {

namespace {

constexpr int64_t kWeightBlockBytes = 64 * 1024 * 1024;

struct CudaPreparedWeight : PreparedWeight {
  Tensor weight;      // [out_features, in_features] of the product dtype
  Tensor bias;        // [out_features] of the hidden dtype; without values when there is none
  Tensor float_bias;  // the same in F32, for results in F32
};

Rows rows_of(const Tensor& tensor) {
  return {.data = tensor.data, .stride = static_cast<int>(tensor.row_stride)};
}

NormArgs norm_args(const LayerNorm& norm) {
  return {.gamma = norm.weight.data, .beta = norm.bias.data, .eps = norm.eps};
}

// PoolArgs::mode.
int pool_mode(PoolingMode mode) {
  switch (mode) {
    case PoolingMode::kCls: return 0;
    case PoolingMode::kMean: return 1;
    case PoolingMode::kLastToken: return 2;
  }
  CHECK(false, "pooling mode {}", static_cast<int>(mode));
}

void require_memory(const GpuContext& context, const CudaOpsOptions& options) {
  constexpr double kGiB = 1024.0 * 1024 * 1024;
  // Blocks are not filled to their ends, and libraries take some memory of their own.
  constexpr int64_t kReserve = 512 * 1024 * 1024;
  const int64_t needed =
      options.weight_bytes + options.arena_bytes + LtGemm::kWorkspaceBytes + kReserve;
  const int64_t available = context.free_bytes();
  if (needed <= available) return;
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("the model needs {:.2f} GiB of memory on {} ({:.2f} of weights, {:.2f} of "
                  "activations), and {:.2f} are free",
                  static_cast<double>(needed) / kGiB, to_string(context.device()),
                  static_cast<double>(options.weight_bytes) / kGiB,
                  static_cast<double>(options.arena_bytes) / kGiB,
                  static_cast<double>(available) / kGiB),
      "lower max_num_tokens, free the GPU's memory, or use a larger GPU");
}

}  // namespace

std::unique_ptr<CudaOps> CudaOps::make(const Driver& driver, ThreadPool& pool,
                                       const CudaOpsOptions& options) {
  auto context = std::make_unique<GpuContext>(driver, options.device);
  require_memory(*context, options);
  Buffer arena = context->allocate(options.arena_bytes);
  return std::unique_ptr<CudaOps>(new CudaOps(std::move(context), pool, options, std::move(arena)));
}

CudaOps::CudaOps(std::unique_ptr<GpuContext> context, ThreadPool& pool,
                 const CudaOpsOptions& options, Buffer arena)
    : OpsContext(context->device(), options.precision,
                 Arena(arena.data(), arena.bytes(), context->device())),
      context_(std::move(context)),
      arch_(options.arch),
      deterministic_(options.deterministic),
      kernels_(*context_, options.kernels),
      arena_memory_(std::move(arena)),
      gemm_(*context_, options.deterministic),
      steps_(*context_, options.max_num_tokens, options.max_num_sequences,
             options.max_result_bytes),
      pool_(pool) {}

CudaOps::~CudaOps() {
  context_->make_current();
  context_->driver().stream_synchronize(context_->stream());
}

// --- parameters ----------------------------------------------------------------------------------

void* CudaOps::allocate_weight(int64_t bytes) {
  if (weight_memory_.empty() ||
      weight_block_.used() + bytes + Arena::kAlignment > weight_block_.capacity()) {
    const Buffer& block = weight_memory_.emplace_back(
        context_->allocate(std::max(kWeightBlockBytes, bytes + Arena::kAlignment)));
    weight_block_ = Arena(block.data(), block.bytes(), device());
  }
  return weight_block_.allocate(DType::kU8, {bytes}).data;
}

Tensor CudaOps::place_as(const Tensor& host, DType dtype) {
  context_->make_current();
  Tensor placed = Tensor::contiguous(nullptr, dtype, host.shape, device());
  if (!host.data) return placed;
  if (!loader_) loader_ = std::make_unique<WeightLoader>(*context_, kernels_, pool_);
  placed.data = allocate_weight(placed.bytes());
  loader_->load(host, placed);
  return placed;
}

Tensor CudaOps::place(const Tensor& host) {
  return place_as(host, precision().hidden);
}

void CudaOps::prepare(Linear& linear) {
  auto prepared = std::make_shared<CudaPreparedWeight>();
  prepared->weight = place_as(linear.weight, precision().product);
  if (linear.bias) {
    prepared->bias = place_as(*linear.bias, precision().hidden);
    prepared->float_bias =
        precision().hidden == DType::kF32 ? prepared->bias : place_as(*linear.bias, DType::kF32);
    linear.bias = prepared->bias;
  }
  linear.prepared = std::move(prepared);
  linear.weight.data = nullptr;
  linear.input = {.dtype = precision().product};
}

void CudaOps::finish_loading() {
  context_->make_current();
  if (loader_) loader_->finish();
  loader_.reset();
}

// --- a step --------------------------------------------------------------------------------------

void CudaOps::begin_step(const Batch& batch) {
  CHECK(!loader_, "finish_loading() comes before a step");
  context_->make_current();
  arena().reset();
  batch_ = &batch;
  steps_.begin(batch);
}

Tensor CudaOps::to_host(const Tensor& tensor) {
  return steps_.to_host(tensor);
}

uint64_t CudaOps::end_step() {
  return steps_.end();
}

void CudaOps::wait_step(uint64_t step) {
  context_->make_current();
  steps_.wait(step);
}

const DeviceBatch& CudaOps::device_batch(const Batch& batch) const {
  CHECK(&batch == batch_, "{} is not the batch of begin_step()", to_string(batch));
  return steps_.batch();
}

void CudaOps::run_embed(const Batch& batch, const EmbeddingTables& tables, const LayerNorm& norm,
                        const HiddenStates& out) {
  CHECK(out.normed.values.data == out.residual.data, "a GPU has one type of rows");
  const DeviceBatch& numbers = device_batch(batch);
  const auto table = [](const std::optional<Tensor>& rows) -> const void* {
    return rows ? rows->data : nullptr;
  };
  const Tensor& rows = out.residual;
  launch(embed_kernel(rows.dtype, rows.rows(), rows.columns()),
         EmbedArgs{.tables = {tables.word.data, table(tables.position), table(tables.token_type)},
                   .indices = {numbers.token_ids, numbers.position_ids, numbers.token_type_ids},
                   .norm = norm_args(norm),
                   .out = rows_of(rows),
                   .rows = static_cast<int>(rows.rows()),
                   .width = static_cast<int>(rows.columns())});
}

void CudaOps::run_linear(const Activation& x, const Linear& linear, ActivationFunction f,
                         const Tensor& out) {
  const auto* weight = dynamic_cast<const CudaPreparedWeight*>(linear.prepared.get());
  CHECK(weight, "the weight was not prepared for the GPU");
  const Tensor& bias = out.dtype == DType::kF32 ? weight->float_bias : weight->bias;
  CHECK(!bias.data || bias.dtype == out.dtype, "linear: {} with bias {}", to_string(out),
        to_string(bias));
  const bool applies_gelu = f != ActivationFunction::kNone && is_fused_into_product(f, out.dtype);
  const GemmEpilogue epilogue = applies_gelu
                                    ? (bias.data ? GemmEpilogue::kGeluBias : GemmEpilogue::kGelu)
                                    : (bias.data ? GemmEpilogue::kBias : GemmEpilogue::kNone);
  gemm_.run({.m = out.rows(),
             .n = linear.out_features(),
             .k = linear.in_features(),
             .x = x.values.data,
             .x_stride = x.values.row_stride,
             .weight = weight->weight.data,
             .bias = bias.data,
             .out = out.data,
             .out_stride = out.row_stride,
             .in_dtype = x.values.dtype,
             .out_dtype = out.dtype,
             .epilogue = epilogue});
  if (const auto kernel = activation_kernel(f, out.dtype, out.rows())) {
    launch(*kernel, ActivateArgs{.x = rows_of(out),
                                 .rows = static_cast<int>(out.rows()),
                                 .width = static_cast<int>(out.columns())});
  }
}

void CudaOps::run_convert(const Tensor& x, const Tensor& out) {
  launch(convert_kernel(x.dtype, out.dtype, x.rows(), x.columns()),
         ConvertArgs{.x = rows_of(x),
                     .out = rows_of(out),
                     .rows = x.rows(),
                     .width = static_cast<int>(x.columns())});
}

void CudaOps::run_add_layer_norm(const HiddenStates& hidden, const Activation& delta,
                                 const LayerNorm& norm) {
  CHECK(hidden.normed.values.data == hidden.residual.data, "a GPU has one type of rows");
  const Tensor& rows = hidden.residual;
  launch(add_layer_norm_kernel(rows.dtype, rows.rows(), rows.columns()),
         AddLayerNormArgs{.residual = rows_of(rows),
                          .delta = rows_of(delta.values),
                          .norm = norm_args(norm),
                          .rows = static_cast<int>(rows.rows()),
                          .width = static_cast<int>(rows.columns())});
}

void CudaOps::run_attention(const Tensor& qkv, const Batch& batch, const AttentionShape& shape,
                            const Tensor& out) {
  constexpr float kLog2E = 1.44269504088896341f;
  const AttentionKernel kernel = attention_kernel(qkv.dtype, shape.head_dim, qkv.row_stride, arch_);
  const DeviceBatch& numbers = device_batch(batch);
  const DeviceTiles tiles = steps_.tiles(batch, kernel.tile_rows, kernel.packs && !deterministic_);
  launch(kernel.over(tiles.count, shape.num_heads),
         AttentionArgs{.qkv = rows_of(qkv),
                       .out = rows_of(out),
                       .tiles = tiles.tiles,
                       .bounds = numbers.bounds,
                       .num_heads = static_cast<int>(shape.num_heads),
                       .head_dim = static_cast<int>(shape.head_dim),
                       .scale = shape.scale * kLog2E});
}

void CudaOps::run_pool(const Tensor& hidden, const Batch& batch, PoolingMode mode,
                       const Tensor& out) {
  launch(pool_kernel(hidden.dtype, batch.num_sequences(), hidden.columns()),
         PoolArgs{.x = rows_of(hidden),
                  .out = rows_of(out),
                  .cu_seqlens = device_batch(batch).cu_seqlens,
                  .width = static_cast<int>(hidden.columns()),
                  .mode = pool_mode(mode)});
}

void CudaOps::run_normalize_rows(const Tensor& out) {
  launch(normalize_kernel(out.rows()),
         NormalizeArgs{.x = rows_of(out), .width = static_cast<int>(out.columns())});
}

void CudaOps::run_sample(const Tensor& /*logits*/, const SamplingBatch& /*batch*/,
                         const SampledTokens& /*out*/) {
  throw Error(ErrorCode::kUnsupported, "tokens are sampled on the CPU only, not on a GPU",
              "serve with --device cpu");
}

}  // namespace millrace::cuda
