// From our types to those of the CPU kernels.
#pragma once

#include "base/error.h"
#include "config/model_config.h"
#include "kernels/cpu/gemm.h"
#include "tensor/tensor.h"

namespace millrace {

inline cpu::Epilogue epilogue(ActivationFunction f) {
  switch (f) {
    case ActivationFunction::kNone: return cpu::Epilogue::kNone;
    case ActivationFunction::kGelu: return cpu::Epilogue::kGelu;
    case ActivationFunction::kGeluTanh: return cpu::Epilogue::kGeluTanh;
    case ActivationFunction::kRelu: return cpu::Epilogue::kRelu;
    case ActivationFunction::kSilu: return cpu::Epilogue::kSilu;
    case ActivationFunction::kTanh: return cpu::Epilogue::kTanh;
  }
  CHECK(false, "activation function {}", static_cast<int>(f));
}

inline const float* floats(const Tensor& tensor) {
  CHECK(tensor.dtype == DType::kF32, "{}", to_string(tensor));
  return static_cast<const float*>(tensor.data);
}

inline float* mutable_floats(const Tensor& tensor) {
  CHECK(tensor.dtype == DType::kF32, "{}", to_string(tensor));
  return static_cast<float*>(tensor.data);
}

}  // namespace millrace
