// The ops of decoders, which no GPU runs yet.
#include "ops/cuda/cuda_ops.h"

namespace millrace::cuda {

namespace {

[[noreturn]] void refuse() {
  throw Error(ErrorCode::kUnsupported, "text generation does not run on a GPU yet",
              "serve it with --device cpu");
}

}  // namespace

Tensor CudaOps::place_table(const Tensor& /*host*/) {
  refuse();
}

void CudaOps::allocate_kv_cache(const KvCacheSpec& spec, const KvCacheSize& /*size*/) {
  if (!spec.layers.empty()) refuse();
}

void CudaOps::run_embed_tokens(const Batch& /*batch*/, const Tensor& /*table*/, float /*scale*/,
                               const Tensor& /*out*/) {
  refuse();
}

void CudaOps::run_rms_norm(const Tensor& /*x*/, const RmsNorm& /*norm*/, const Tensor& /*out*/) {
  refuse();
}

void CudaOps::run_add_rms_norm(const HiddenStates& /*hidden*/, const Activation& /*delta*/,
                               const ResidualAdd& /*add*/, const RmsNorm& /*norm*/) {
  refuse();
}

void CudaOps::run_act_and_mul(const Tensor& /*gate_up*/, ActivationFunction /*f*/,
                              const Tensor& /*out*/) {
  refuse();
}

void CudaOps::run_gather_rows(const Tensor& /*x*/, const std::vector<int32_t>& /*rows*/,
                              const Tensor& /*out*/) {
  refuse();
}

void CudaOps::run_scale_and_cap(const Tensor& /*out*/, float /*scale*/, float /*soft_cap*/) {
  refuse();
}

void CudaOps::run_copy_kv_blocks(std::span<const KvCopy> /*copies*/) {
  refuse();
}

void CudaOps::run_rope_angles(const Batch& /*batch*/, const Rope& /*rope*/, const Tensor& /*out*/) {
  refuse();
}

void CudaOps::run_rope_and_write_kv(const Tensor& /*qkv*/, const Batch& /*batch*/, size_t /*layer*/,
                                    const HeadLayout& /*heads*/, const Rope& /*rope*/,
                                    const Tensor& /*angles*/, const RmsNorm* /*q_norm*/,
                                    const RmsNorm* /*k_norm*/) {
  refuse();
}

void CudaOps::run_paged_attention(const Tensor& /*qkv*/, const Batch& /*batch*/, size_t /*layer*/,
                                  const CausalAttention& /*attention*/, const Tensor& /*out*/) {
  refuse();
}

}  // namespace millrace::cuda
