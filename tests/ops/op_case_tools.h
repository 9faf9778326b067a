// What the definitions of ops share: inputs, and the comparison with the reference.
#pragma once

#include "kernels/reference/reference.h"
#include "ops/op_cases.h"

namespace millrace {

// `reference` gives the expected values; it is slow, and not asked where nothing is compared.
template <typename Reference>
OpError compare(TestDevice& device, const Tensor& out, const Reference& reference) {
  OpError error{.result = out.dtype, .hidden = device.ops().precision().hidden};
  if (!device.compares()) return error;
  const std::vector<double> expected = reference();
  EXPECT_EQ(static_cast<size_t>(out.numel()), expected.size()) << to_string(out);
  const std::vector<float> values = device.download(out);
  error.value =
      reference::max_row_error(values.data(), out.columns(), expected, out.rows(), out.columns());
  return error;
}

inline Tensor host_tensor(std::vector<float>& values, const Shape& shape) {
  return Tensor::contiguous(values.data(), DType::kF32, shape);
}

// Values as the device holds them: rounded to the dtype of its rows.
inline std::vector<float> normal(TestDevice& device, cpu::Random& random, int64_t count,
                                 float deviation = 1.0f, float mean = 0.0f) {
  return rounded(random.normal(count, deviation, mean), device.ops().precision().hidden);
}

// The format of a consumer whose input is of `dtype`.
inline ActivationFormat format_of(DType dtype) {
  return {.dtype = dtype};
}

template <typename Run, typename... Sizes>
OpCase make_case(std::string name, Run run, Sizes... sizes) {
  return {.name = std::move(name), .run = [=](TestDevice& device, cpu::Random& random) {
            return run(device, random, sizes...);
          }};
}

}  // namespace millrace
