// The closed table of element types.
#include "tensor/dtype.h"

#include <array>

#include "base/error.h"

namespace millrace {

namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;  // in safetensors
  int64_t size;           // bytes
  bool is_float;
};

constexpr std::array kDTypes = {
    DTypeRow{DType::kF64, "F64", 8, true},        DTypeRow{DType::kF32, "F32", 4, true},
    DTypeRow{DType::kF16, "F16", 2, true},        DTypeRow{DType::kBF16, "BF16", 2, true},
    DTypeRow{DType::kI64, "I64", 8, false},       DTypeRow{DType::kI32, "I32", 4, false},
    DTypeRow{DType::kI16, "I16", 2, false},       DTypeRow{DType::kI8, "I8", 1, false},
    DTypeRow{DType::kU8, "U8", 1, false},         DTypeRow{DType::kBool, "BOOL", 1, false},
    DTypeRow{DType::kF8E4M3, "F8_E4M3", 1, true}, DTypeRow{DType::kF8E5M2, "F8_E5M2", 1, true},
};

const DTypeRow& row(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  CHECK(index < kDTypes.size() && kDTypes[index].dtype == dtype);
  return kDTypes[index];
}

}  // namespace

std::string_view to_string(DType dtype) {
  return row(dtype).name;
}
int64_t size_of(DType dtype) {
  return row(dtype).size;
}
bool is_float(DType dtype) {
  return row(dtype).is_float;
}

std::optional<DType> dtype_from_safetensors(std::string_view name) {
  for (const DTypeRow& candidate : kDTypes) {
    if (candidate.name == name) return candidate.dtype;
  }
  return std::nullopt;
}

std::string_view to_string(ComputeDType dtype) {
  switch (dtype) {
    case ComputeDType::kAuto: return "auto";
    case ComputeDType::kF32: return "fp32";
    case ComputeDType::kF16: return "fp16";
    case ComputeDType::kBF16: return "bf16";
  }
  return "unknown";
}

std::optional<ComputeDType> compute_dtype_from_name(std::string_view name) {
  for (auto dtype :
       {ComputeDType::kAuto, ComputeDType::kF32, ComputeDType::kF16, ComputeDType::kBF16}) {
    if (to_string(dtype) == name) return dtype;
  }
  return std::nullopt;
}

}  // namespace millrace
