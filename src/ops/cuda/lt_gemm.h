// LtGemm: matrix products through cuBLASLt, with the choices of its heuristic kept.
#pragma once

#include <cublasLt.h>

#include <memory>
#include <vector>

#include "base/dynamic_library.h"
#include "ops/cuda/gpu_context.h"

namespace millrace::cuda {

enum class GemmEpilogue : uint8_t {
  kNone,
  kBias,
  kGelu,      // tanh form
  kGeluBias,  // tanh form
};

// out[m, n] = f(x[m, k] * weight[n, k]^T + bias[n]), all in device memory. Sums are in F32.
struct GemmProblem {
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
  const void* x = nullptr;
  int64_t x_stride = 0;          // elements
  const void* weight = nullptr;  // contiguous
  const void* bias = nullptr;    // of the type of out
  void* out = nullptr;
  int64_t out_stride = 0;  // elements
  DType in_dtype = DType::kF32;
  DType out_dtype = DType::kF32;
  GemmEpilogue epilogue = GemmEpilogue::kNone;
};

class LtGemm {
 public:
  static constexpr int64_t kWorkspaceBytes = 32 * 1024 * 1024;

  // `deterministic`: a weight has one algorithm whatever the rows, none splits the sum.
  LtGemm(const GpuContext& context, bool deterministic);
  ~LtGemm();
  LtGemm(const LtGemm&) = delete;
  LtGemm& operator=(const LtGemm&) = delete;

  // Enqueues one product on the context's stream.
  void run(const GemmProblem& problem);

 private:
  struct Api {
    decltype(&::cublasLtCreate) create = nullptr;
    decltype(&::cublasLtDestroy) destroy = nullptr;
    decltype(&::cublasLtMatmul) matmul = nullptr;
    decltype(&::cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
    decltype(&::cublasLtMatmulDescCreate) desc_create = nullptr;
    decltype(&::cublasLtMatmulDescDestroy) desc_destroy = nullptr;
    decltype(&::cublasLtMatmulDescSetAttribute) desc_set = nullptr;
    decltype(&::cublasLtMatrixLayoutCreate) layout_create = nullptr;
    decltype(&::cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
    decltype(&::cublasLtMatrixLayoutSetAttribute) layout_set = nullptr;
    decltype(&::cublasLtMatmulPreferenceCreate) preference_create = nullptr;
    decltype(&::cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
    decltype(&::cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
    decltype(&::cublasLtGetStatusString) status_text = nullptr;
  };
  // What descriptors depend on beside the rows.
  struct Key {
    int64_t n = 0;
    int64_t k = 0;
    int64_t x_stride = 0;
    int64_t out_stride = 0;
    DType in_dtype = DType::kF32;
    DType out_dtype = DType::kF32;
    GemmEpilogue epilogue = GemmEpilogue::kNone;

    bool operator==(const Key&) const = default;
  };
  struct Plan;  // descriptors, and an algorithm for each bucket of rows

  void check(cublasStatus_t status, const char* call) const;
  Plan& plan_of(const GemmProblem& problem);
  cublasLtMatmulAlgo_t algorithm(const GemmProblem& problem, Plan& plan) const;

  const GpuContext& context_;
  bool deterministic_;
  DynamicLibrary library_;
  Api api_;
  cublasLtHandle_t handle_ = nullptr;
  Buffer workspace_;
  std::vector<std::unique_ptr<Plan>> plans_;
};

// The rows for which an algorithm is chosen once: fewer than an eighth more than `m`.
int64_t gemm_row_bucket(int64_t m);

}  // namespace millrace::cuda
