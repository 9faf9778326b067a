// From tensors to arguments of kernels.
#include "ops/cuda/cuda_ops.h"

#include <algorithm>

#include "ops/cuda/cuda_arguments.h"

namespace millrace::cuda {

namespace {

constexpr size_t kMaxRecordings = 128;

struct CudaPreparedWeight : PreparedWeight {
  Tensor weight;      // [out_features, in_features] of the product dtype
  Tensor bias;        // [out_features] of the hidden dtype; without values when there is none
  Tensor float_bias;  // the same in F32, for results in F32
};

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

std::unique_ptr<CudaOps> CudaOps::make(const Driver& driver, const CudaOpsOptions& options) {
  auto context = std::make_unique<GpuContext>(driver, options.device);
  require_memory(*context, options);
  Buffer arena = context->allocate(options.arena_bytes);
  Buffer weights = context->allocate(options.weight_bytes);
  return std::unique_ptr<CudaOps>(
      new CudaOps(std::move(context), options, std::move(arena), std::move(weights)));
}

CudaOps::CudaOps(std::unique_ptr<GpuContext> context, const CudaOpsOptions& options, Buffer arena,
                 Buffer weights)
    : OpsContext(context->device(), options.precision,
                 Arena(arena.data(), arena.bytes(), context->device())),
      context_(std::move(context)),
      arch_(options.arch),
      deterministic_(options.deterministic),
      most_recorded_{.num_tokens = options.enforce_eager
                                       ? 0
                                       : std::min(options.max_num_tokens, kMaxRecordedTokens),
                     .num_sequences = options.max_num_sequences,
                     .num_logits_rows = options.max_logits_rows},
      max_seq_len_(options.max_seq_len),
      max_sampled_rows_(options.max_logits_rows),
      kernels_(*context_, options.kernels),
      arena_memory_(std::move(arena)),
      weight_memory_(std::move(weights)),
      weights_(weight_memory_.data(), weight_memory_.bytes(), device()),
      gemm_(*context_, options.deterministic),
      steps_(*context_, {.max_num_tokens = options.max_num_tokens,
                         .max_num_sequences = options.max_num_sequences,
                         .max_logits_rows = options.max_logits_rows,
                         .max_result_bytes = options.max_result_bytes}),
      sampling_(*context_),
      loader_(*context_, kernels_) {}

CudaOps::~CudaOps() {
  context_->make_current();
  context_->driver().stream_synchronize(context_->stream());
  kv_cache_ = {};  // its memory must not outlive the context
}

// --- parameters ----------------------------------------------------------------------------------

Tensor CudaOps::place_as(const Tensor& host, DType dtype) {
  context_->make_current();
  const Tensor placed = weights_.allocate(dtype, host.shape);
  loader_.load(host, placed);
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
    prepared->float_bias = prepared->bias;
    if (precision().hidden != DType::kF32) {
      prepared->float_bias = weights_.allocate(DType::kF32, linear.bias->shape);
      widened_.emplace_back(prepared->bias, prepared->float_bias);
    }
    linear.bias = prepared->bias;
  }
  linear.prepared = std::move(prepared);
  linear.weight.data = nullptr;
  linear.input = {.dtype = precision().product};
}

void CudaOps::finish_loading() {
  context_->make_current();
  loader_.finish();
  for (const auto& [bias, float_bias] : widened_) {
    launch(convert_kernel(bias.dtype, DType::kF32, 1, bias.numel()),
           ConvertArgs{.x = {.data = bias.data},
                       .out = {.data = float_bias.data},
                       .rows = 1,
                       .width = static_cast<int>(bias.numel())});
  }
  widened_.clear();
}

// --- a step --------------------------------------------------------------------------------------

void CudaOps::begin_step(const Batch& batch) {
  CHECK(loader_.is_finished(), "finish_loading() comes before a step");
  context_->make_current();
  arena().reset();
  batch_ = &batch;
  steps_.begin(batch);
}

Step CudaOps::run_step(const Batch& batch, int variant, const Forward& forward) {
  StepRows rows;
  if (const auto size = size_to_record(batch)) {
    rows = run_recorded(batch, *size, variant, forward);
  } else {
    begin_step(batch);
    rows = forward(batch);
  }
  const auto send = [&](std::optional<Tensor>& tensor, int64_t count) {
    if (tensor) tensor = steps_.to_host(tensor->slice_rows(0, count));
  };
  send(rows.sequences, batch.num_sequences());
  send(rows.tokens, batch.num_tokens());
  if (rows.logits)
    rows.logits = rows.logits->slice_rows(0, static_cast<int64_t>(batch.logits_rows.size()));
  ++num_steps_;
  return {.number = steps_.end(), .rows = rows};
}

std::optional<StepSize> CudaOps::size_to_record(const Batch& batch) const {
  if (batch.num_tokens() > most_recorded_.num_tokens) return std::nullopt;
  return batch.kv.empty()
             ? recorded_size({batch.num_tokens(), batch.num_sequences()}, most_recorded_)
             : recorded_decoder_size(batch, most_recorded_);
}

// The first step of a size finds out what its kernels ask for, and brings libraries to load what
// they need; the second one is recorded.
StepRows CudaOps::run_recorded(const Batch& batch, const StepSize& size, int variant,
                               const Forward& forward) {
  CHECK(loader_.is_finished(), "finish_loading() comes before a step");
  context_->make_current();
  padded_ = batch;
  padded_.pad(size.num_tokens, size.num_sequences);
  padded_.logits_rows.resize(static_cast<size_t>(size.num_logits_rows), 0);
  batch_ = &padded_;
  Recording& known = recording_of(size, variant);
  arena().reset();
  const bool was_run = known.rows.sequences || known.rows.tokens || known.rows.logits;
  if (known.graph) check_replayed(known);
  steps_.begin_recorded(padded_, known.lists);
  if (known.graph) {
    known.graph->replay();
    arena().allocate(DType::kU8, {known.arena_bytes});  // what follows must not overwrite the rows
  } else if (was_run) {
    known.graph.emplace(*context_, [&] { known.rows = forward(padded_); });
    known.arena_bytes = arena().used();
    known.graph->replay();
  } else {
    known.rows = forward(padded_);
    known.lists = steps_.tile_lists();
    known.tables = tables_;
  }
  return known.rows;
}

// What the ops would have refused.
void CudaOps::check_replayed(const Recording& known) const {
  if (padded_.kv.empty()) {
    check_indices(padded_, known.tables);
    return;
  }
  if (known.tables.word.shape.rank() == 2)
    check_token_ids(padded_, known.tables.word.rows(), num_sampled());
  for (const int32_t row : padded_.logits_rows)
    CHECK(row >= 0 && row < padded_.num_tokens(), "row {} of {}", row, padded_.num_tokens());
  for (size_t group = 0; group < padded_.kv.size(); ++group) {
    check_slots(padded_, group);
    check_block_table(padded_, group);
  }
}

CudaOps::Recording& CudaOps::recording_of(const StepSize& size, int variant) {
  const auto found = std::ranges::find_if(recordings_, [&](const Recording& known) {
    return known.size == size && known.variant == variant;
  });
  if (found == recordings_.end() && recordings_.size() == kMaxRecordings)
    recordings_.erase(std::ranges::min_element(recordings_, {}, &Recording::last_used));
  Recording& known = found != recordings_.end() ? *found : recordings_.emplace_back();
  known.size = size;
  known.variant = variant;
  known.last_used = num_steps_;
  return known;
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
  tables_ = tables;
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
  const DeviceTiles tiles =
      steps_.tiles(batch, {.tile_rows = kernel.tile_rows, .pack = kernel.packs && !deterministic_});
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

}  // namespace millrace::cuda
