// Row-major rows are column-major columns: cuBLASLt computes out^T = weight * x^T, with the weight
// as its transposed first operand, so that the bias runs along the rows of its result.
#include "ops/cuda/lt_gemm.h"

#include <algorithm>
#include <bit>
#include <map>

#include "ops/cuda/library_path.h"

namespace millrace::cuda {

namespace {

// Rows for which `deterministic` chooses every algorithm.
constexpr int64_t kDeterministicRows = 2048;

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::kF32: return CUDA_R_32F;
    case DType::kF16: return CUDA_R_16F;
    case DType::kBF16: return CUDA_R_16BF;
    default: break;
  }
  CHECK(false, "no product of {}", to_string(dtype));
}

cublasLtEpilogue_t epilogue_of(GemmEpilogue epilogue) {
  switch (epilogue) {
    case GemmEpilogue::kNone: return CUBLASLT_EPILOGUE_DEFAULT;
    case GemmEpilogue::kBias: return CUBLASLT_EPILOGUE_BIAS;
    case GemmEpilogue::kGelu: return CUBLASLT_EPILOGUE_GELU;
    case GemmEpilogue::kGeluBias: return CUBLASLT_EPILOGUE_GELU_BIAS;
  }
  CHECK(false, "epilogue {}", static_cast<int>(epilogue));
}

// The greatest power of two up to 256 that divides an address.
uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | 256;
  return static_cast<uint32_t>(address & (~address + 1));
}

}  // namespace

int64_t gemm_row_bucket(int64_t m) {
  constexpr int64_t kExact = 16;
  if (m <= kExact) return m;
  const int64_t step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(m - 1))) / 8;
  return (m + step - 1) / step * step;
}

struct LtGemm::Plan {
  Plan(const LtGemm& gemm, const Key& wanted) : owner(gemm), key(wanted) {
    const Api& api = owner.api_;
    owner.check(api.desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(key.epilogue));
    if (key.epilogue != GemmEpilogue::kNone && key.epilogue != GemmEpilogue::kGelu)
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(key.out_dtype));
    const auto layout = [&](cublasLtMatrixLayout_t& made, DType dtype, int64_t first,
                            int64_t second, int64_t stride) {
      owner.check(api.layout_create(&made, data_type(dtype), static_cast<uint64_t>(first),
                                    static_cast<uint64_t>(second), stride),
                  "cublasLtMatrixLayoutCreate");
    };
    layout(weight, key.in_dtype, key.k, key.n, key.k);
    layout(x, key.in_dtype, key.k, 1, key.x_stride);
    layout(out, key.out_dtype, key.n, 1, key.out_stride);
  }
  ~Plan() {
    for (const auto& l : {weight, x, out}) owner.api_.layout_destroy(l);
    owner.api_.desc_destroy(desc);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    owner.check(owner.api_.desc_set(desc, attribute, &value, sizeof(value)),
                "cublasLtMatmulDescSetAttribute");
  }

  void set_rows(int64_t rows) {
    const auto columns = static_cast<uint64_t>(rows);
    for (const auto& l : {x, out}) {
      owner.check(owner.api_.layout_set(l, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof(columns)),
                  "cublasLtMatrixLayoutSetAttribute");
    }
  }

  const LtGemm& owner;
  Key key;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t weight = nullptr;
  cublasLtMatrixLayout_t x = nullptr;
  cublasLtMatrixLayout_t out = nullptr;
  std::map<int64_t, cublasLtMatmulAlgo_t> algorithms;  // by gemm_row_bucket()
};

LtGemm::LtGemm(const GpuContext& context, bool deterministic)
    : context_(context),
      deterministic_(deterministic),
      library_(open_nvidia_library("libcublasLt.so.13", "computing on a GPU", "nvidia-cublas")) {
  library_.look_up(api_.create, "cublasLtCreate");
  library_.look_up(api_.destroy, "cublasLtDestroy");
  library_.look_up(api_.matmul, "cublasLtMatmul");
  library_.look_up(api_.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  library_.look_up(api_.desc_create, "cublasLtMatmulDescCreate");
  library_.look_up(api_.desc_destroy, "cublasLtMatmulDescDestroy");
  library_.look_up(api_.desc_set, "cublasLtMatmulDescSetAttribute");
  library_.look_up(api_.layout_create, "cublasLtMatrixLayoutCreate");
  library_.look_up(api_.layout_destroy, "cublasLtMatrixLayoutDestroy");
  library_.look_up(api_.layout_set, "cublasLtMatrixLayoutSetAttribute");
  library_.look_up(api_.preference_create, "cublasLtMatmulPreferenceCreate");
  library_.look_up(api_.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  library_.look_up(api_.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  library_.look_up(api_.status_text, "cublasLtGetStatusString");
  context_.make_current();
  check(api_.create(&handle_), "cublasLtCreate");
  workspace_ = context_.allocate(kWorkspaceBytes);
}

LtGemm::~LtGemm() {
  plans_.clear();
  if (handle_) api_.destroy(handle_);
}

void LtGemm::check(cublasStatus_t status, const char* call) const {
  CHECK(status == CUBLAS_STATUS_SUCCESS, "{}: {}", call, api_.status_text(status));
}

LtGemm::Plan& LtGemm::plan_of(const GemmProblem& problem) {
  const Key key = {.n = problem.n,
                   .k = problem.k,
                   .x_stride = problem.x_stride,
                   .out_stride = problem.out_stride,
                   .in_dtype = problem.in_dtype,
                   .out_dtype = problem.out_dtype,
                   .epilogue = problem.epilogue};
  for (const auto& plan : plans_) {
    if (plan->key == key) return *plan;
  }
  return *plans_.emplace_back(std::make_unique<Plan>(*this, key));
}

// The heuristic's first choice, asked once for each bucket of rows.
cublasLtMatmulAlgo_t LtGemm::algorithm(const GemmProblem& problem, Plan& plan) const {
  const int64_t rows = deterministic_ ? kDeterministicRows : gemm_row_bucket(problem.m);
  if (const auto known = plan.algorithms.find(rows); known != plan.algorithms.end())
    return known->second;
  plan.set_rows(rows);
  cublasLtMatmulPreference_t preference = nullptr;
  check(api_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(api_.preference_set(preference, attribute, &value, sizeof(value)),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(problem.weight));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(problem.x));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(problem.out));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(problem.out));
  if (deterministic_) {
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
  }
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status = api_.heuristic(handle_, plan.desc, plan.weight, plan.x, plan.out,
                                               plan.out, preference, 1, &best, &found);
  api_.preference_destroy(preference);
  CHECK(status == CUBLAS_STATUS_SUCCESS && found == 1,
        "cuBLASLt has no algorithm for {} rows, weight {}x{} of {}: {}", rows, problem.n, problem.k,
        to_string(problem.in_dtype), api_.status_text(status));
  return plan.algorithms.emplace(rows, best.algo).first->second;
}

void LtGemm::run(const GemmProblem& problem) {
  if (problem.m == 0) return;
  Plan& plan = plan_of(problem);
  if (problem.bias) plan.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, problem.bias);
  const cublasLtMatmulAlgo_t algo = algorithm(problem, plan);
  plan.set_rows(problem.m);
  constexpr float kOne = 1;
  constexpr float kZero = 0;
  check(api_.matmul(handle_, plan.desc, &kOne, problem.weight, plan.weight, problem.x, plan.x,
                    &kZero, problem.out, plan.out, problem.out, plan.out, &algo, workspace_.data(),
                    static_cast<size_t>(kWorkspaceBytes),
                    reinterpret_cast<cudaStream_t>(context_.stream())),
        "cublasLtMatmul");
}

}  // namespace millrace::cuda
