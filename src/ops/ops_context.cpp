// The closed table of what is computed in what.
#include "ops/ops_context.h"

#include "base/error.h"

namespace millrace {

Precision choose_precision(ComputeDType compute, DType checkpoint, DeviceKind device) {
  if (device == DeviceKind::kCuda) {
    const DType dtype = compute == ComputeDType::kF32   ? DType::kF32
                        : compute == ComputeDType::kF16 ? DType::kF16
                        : compute == ComputeDType::kAuto && checkpoint == DType::kF16
                            ? DType::kF16
                            : DType::kBF16;
    return {.hidden = dtype, .product = dtype};
  }
  switch (compute) {
    case ComputeDType::kAuto:  // whatever the checkpoint holds, fp32 represents it exactly
    case ComputeDType::kF32: return {.hidden = DType::kF32, .product = DType::kF32};
    case ComputeDType::kBF16: return {.hidden = DType::kF32, .product = DType::kBF16};
    case ComputeDType::kF16: break;
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("dtype fp16 is not available on the CPU (the checkpoint is {})",
                          to_string(checkpoint)),
              "use --dtype fp32 (or bf16)");
}

}  // namespace millrace
