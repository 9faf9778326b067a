// Element types of tensors, spelled as safetensors spells them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace millrace {

enum class DType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kF8E4M3,
  kF8E5M2
};

// "F32", "BF16", "I64": the names in a safetensors header.
std::string_view to_string(DType dtype);
std::optional<DType> dtype_from_safetensors(std::string_view name);

int64_t size_of(DType dtype);  // bytes per element
bool is_float(DType dtype);

// What a model computes in; `kAuto` is resolved against the checkpoint and the device at load.
enum class ComputeDType : uint8_t { kAuto, kF32, kF16, kBF16 };

// "auto", "fp32", "fp16", "bf16": the words of the command line and of config.yaml.
std::string_view to_string(ComputeDType dtype);
std::optional<ComputeDType> compute_dtype_from_name(std::string_view name);

}  // namespace millrace
