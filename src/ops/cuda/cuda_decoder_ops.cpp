// The row-wise ops of decoders: from tensors to arguments of kernels.
#include <algorithm>

#include "kernels/cuda/decoder_row_args.h"
#include "kernels/cuda/decoder_row_choice.h"
#include "ops/cuda/cuda_arguments.h"
#include "ops/cuda/cuda_ops.h"

namespace millrace::cuda {

Tensor CudaOps::place_table(const Tensor& host) {
  return place(host);
}

void CudaOps::run_embed_tokens(const Batch& batch, const Tensor& table, float scale,
                               const Tensor& out) {
  const DeviceBatch& numbers = device_batch(batch);
  tables_ = {.word = table};
  launch(gather_rows_kernel(out.dtype, out.rows(), out.columns()),
         GatherRowsArgs{.table = rows_of(table),
                        .indices = numbers.token_ids,
                        .sampled = numbers.sampled_tokens,
                        .scale = scale,
                        .out = rows_of(out),
                        .rows = static_cast<int>(out.rows()),
                        .width = static_cast<int>(out.columns())});
}

void CudaOps::run_rms_norm(const Tensor& x, const RmsNorm& norm, const Tensor& out) {
  launch(rms_norm_kernel(x.dtype, x.rows(), x.columns()),
         RmsNormArgs{.x = rows_of(x),
                     .norm = rms_args(&norm),
                     .out = rows_of(out),
                     .rows = static_cast<int>(x.rows()),
                     .width = static_cast<int>(x.columns())});
}

void CudaOps::run_add_rms_norm(const HiddenStates& hidden, const Activation& delta,
                               const ResidualAdd& add, const RmsNorm& norm) {
  const Tensor& x = hidden.residual;
  launch(rms_norm_kernel(x.dtype, x.rows(), x.columns()),
         RmsNormArgs{.x = rows_of(x),
                     .delta = rows_of(delta.values),
                     .delta_norm = rms_args(add.norm),
                     .scale = add.scale,
                     .norm = rms_args(&norm),
                     .out = rows_of(hidden.normed.values),
                     .rows = static_cast<int>(x.rows()),
                     .width = static_cast<int>(x.columns())});
}

void CudaOps::run_act_and_mul(const Tensor& gate_up, ActivationFunction f, const Tensor& out) {
  launch(act_and_mul_kernel(out.dtype, function_of(f), out.rows(), out.columns()),
         ActAndMulArgs{.x = rows_of(gate_up),
                       .out = rows_of(out),
                       .rows = static_cast<int>(out.rows()),
                       .width = static_cast<int>(out.columns())});
}

void CudaOps::run_gather_logits_rows(const Tensor& x, const Batch& batch, const Tensor& out) {
  launch(gather_rows_kernel(out.dtype, out.rows(), out.columns()),
         GatherRowsArgs{.table = rows_of(x),
                        .indices = device_batch(batch).logits_rows,
                        .out = rows_of(out),
                        .rows = static_cast<int>(out.rows()),
                        .width = static_cast<int>(out.columns())});
}

void CudaOps::run_scale_and_cap(const Tensor& out, float scale, float soft_cap) {
  launch(scale_and_cap_kernel(out.rows(), out.columns()),
         ScaleAndCapArgs{.x = rows_of(out),
                         .scale = scale,
                         .soft_cap = soft_cap,
                         .rows = static_cast<int>(out.rows()),
                         .width = static_cast<int>(out.columns())});
}

void CudaOps::run_rope_angles(const Batch& batch, const Rope& rope, const Tensor& out) {
  const auto num_pairs = static_cast<int64_t>(rope.inverse_frequencies.size());
  RopeAnglesArgs args{.out = rows_of(out),
                      .positions = device_batch(batch).position_ids,
                      .rows = static_cast<int>(out.rows()),
                      .num_pairs = static_cast<int>(num_pairs),
                      .scale = rope.scale};
  const KernelLaunch kernel = rope_angles_kernel(out.rows(), num_pairs);
  std::ranges::copy(rope.inverse_frequencies, args.inverse_frequencies);
  launch(kernel, args);
}

}  // namespace millrace::cuda
