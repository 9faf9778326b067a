// The backends that every op is tested on, and how a test moves values to and from their devices.
#pragma once

#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "kernels/cpu/scalar_convert.h"
#include "kernels/kernel_test.h"
#include "ops/cpu/cpu_ops.h"

namespace millrace {

// Ops under test. What it hands out lives as long as it does.
class TestDevice {
 public:
  virtual ~TestDevice() = default;

  virtual Ops& ops() = 0;
  // Fills the whole arena with NaN and makes it empty.
  virtual void poison() = 0;
  // Values rounded to `dtype`, on the device; rows are `gap` elements of NaN apart.
  virtual Tensor upload(const std::vector<float>& values, DType dtype, int64_t rows,
                        int64_t gap = 0) = 0;
  virtual std::vector<float> download(const Tensor& tensor) = 0;
};

class CpuTestDevice : public TestDevice {
 public:
  static constexpr int64_t kArenaBytes = int64_t{1} << 24;
  static constexpr int kThreads = 3;

  CpuTestDevice(cpu::Isa isa, Precision precision)
      : pool_(kThreads), ops_(pool_, isa, precision, kArenaBytes) {}

  Ops& ops() override { return ops_; }

  void poison() override {
    Arena& arena = ops_.arena();
    arena.reset();
    std::memset(arena.allocate(DType::kU8, {kArenaBytes}).data, 0xff, kArenaBytes);
    arena.reset();
  }

  Tensor upload(const std::vector<float>& values, DType dtype, int64_t rows, int64_t gap) override {
    const int64_t width = static_cast<int64_t>(values.size()) / rows;
    std::vector<float> spread(static_cast<size_t>(rows * (width + gap)),
                              std::numeric_limits<float>::quiet_NaN());
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(values.data() + row * width, width, spread.data() + row * (width + gap));
    const auto count = static_cast<int64_t>(spread.size());
    const Buffer& memory = uploads_.emplace_back(Buffer::host(count * size_of(dtype)));
    for (size_t i = 0; i < spread.size(); ++i) {
      if (dtype == DType::kF32)
        static_cast<float*>(memory.data())[i] = spread[i];
      else
        static_cast<uint16_t*>(memory.data())[i] = cpu::bf16_of(spread[i]);
    }
    return Tensor::contiguous(memory.data(), dtype, {rows, width + gap}).slice_columns(0, width);
  }

  std::vector<float> download(const Tensor& tensor) override {
    std::vector<float> values;
    for (int64_t row = 0; row < tensor.rows(); ++row) {
      for (int64_t i = 0; i < tensor.columns(); ++i) {
        const int64_t at = row * tensor.row_stride + i;
        values.push_back(tensor.dtype == DType::kF32
                             ? static_cast<const float*>(tensor.data)[at]
                             : cpu::float_of_bf16(static_cast<const uint16_t*>(tensor.data)[at]));
      }
    }
    return values;
  }

 private:
  ThreadPool pool_;
  CpuOps ops_;
  std::vector<Buffer> uploads_;
};

struct Backend {
  std::string name;
  Precision precision;
  std::function<std::unique_ptr<TestDevice>()> make;
};

inline void PrintTo(const Backend& backend, std::ostream* out) {
  *out << backend.name;
}

inline void add_cpu_backends(std::vector<Backend>& all) {
  for (const cpu::Isa isa : cpu::supported_isas(cpu_features())) {
    for (const DType product : {DType::kF32, DType::kBF16}) {
      if (product == DType::kBF16 && !cpu::has_bf16_products(isa)) continue;
      const Precision precision{.hidden = DType::kF32, .product = product};
      all.push_back({.name = fmt::format("cpu_{}_{}", to_string(isa), to_string(product)),
                     .precision = precision,
                     .make = [=] { return std::make_unique<CpuTestDevice>(isa, precision); }});
    }
  }
}

inline std::vector<Backend> all_backends() {
  std::vector<Backend> all;
  add_cpu_backends(all);
  return all;
}

}  // namespace millrace
