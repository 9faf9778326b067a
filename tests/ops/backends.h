// The backends that every op is tested on, and how a test moves values to and from their devices.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kernels/cpu/scalar_convert.h"
#include "kernels/cuda/kernel_choice.h"
#include "kernels/kernel_test.h"
#include "ops/cpu/cpu_ops.h"
#include "ops/cuda_backend.h"
#include "ops/trace/trace_ops.h"
#include "support/test_device.h"

namespace millrace {

// Ops under test. What it hands out lives as long as it does.
class TestDevice {
 public:
  explicit TestDevice(bool compares) : compares_(compares) {}
  virtual ~TestDevice() = default;

  // Whether results are compared: in a benchmark they are not.
  bool compares() const { return compares_; }

  // Calls the op that a case is about; in a benchmark many times.
  virtual void run(const std::function<void()>& op) { compares_ ? op() : measure(op); }
  double seconds() const { return seconds_; }  // that the last op measured took

  // Bytes per second, read and written, of a copy that no cache holds.
  virtual double copy_rate() = 0;
  // Returns when all ops are done.
  virtual void synchronize() {}

  virtual Ops& ops() = 0;
  // Fills the whole arena with NaN and makes it empty.
  virtual void poison() = 0;
  // The same with a tensor without gaps.
  virtual void poison(const Tensor& tensor) {
    std::memset(tensor.data, 0xff, static_cast<size_t>(tensor.bytes()));
  }
  // Values rounded to `dtype`, on the device; rows are `gap` elements of NaN apart.
  virtual Tensor upload(const std::vector<float>& values, DType dtype, int64_t rows,
                        int64_t gap = 0) = 0;
  virtual std::vector<float> download(const Tensor& tensor) = 0;

 private:
  // The median of seven measurements of at least 5 ms each, after one that is not counted.
  void measure(const std::function<void()>& op) {
    const auto seconds_of = [&](int calls) {
      synchronize();
      const auto begin = Clock::now();
      for (int i = 0; i < calls; ++i) {
        const ArenaScope scope(ops().arena());
        op();
      }
      synchronize();
      return millrace::seconds(Clock::now() - begin);
    };
    int calls = 1;
    while (seconds_of(calls) < 5e-3) calls *= 2;
    std::vector<double> times;
    for (int i = 0; i < 7; ++i) times.push_back(seconds_of(calls) / calls);
    std::ranges::nth_element(times, times.begin() + 3);
    seconds_ = times[3];
  }

  bool compares_;
  double seconds_ = 0;
};

// --- values of any float dtype on the host -------------------------------------------------------

inline void put_value(void* memory, DType dtype, size_t index, float value) {
  switch (dtype) {
    case DType::kF32: static_cast<float*>(memory)[index] = value; return;
    case DType::kF16: static_cast<uint16_t*>(memory)[index] = cpu::fp16_of(value); return;
    case DType::kBF16: static_cast<uint16_t*>(memory)[index] = cpu::bf16_of(value); return;
    default: CHECK(false, "no test of {}", to_string(dtype));
  }
}

inline float get_value(const void* memory, DType dtype, size_t index) {
  switch (dtype) {
    case DType::kF32: return static_cast<const float*>(memory)[index];
    case DType::kF16: return cpu::float_of_fp16(static_cast<const uint16_t*>(memory)[index]);
    case DType::kBF16: return cpu::float_of_bf16(static_cast<const uint16_t*>(memory)[index]);
    default: CHECK(false, "no test of {}", to_string(dtype));
  }
}

inline std::vector<float> rounded(std::vector<float> values, DType dtype) {
  for (float& value : values) {
    uint32_t bits = 0;
    put_value(&bits, dtype, 0, value);
    value = get_value(&bits, dtype, 0);
  }
  return values;
}

// Host memory with the values in rows that are `gap` elements of NaN apart.
inline Buffer spread_rows(const std::vector<float>& values, DType dtype, int64_t rows,
                          int64_t gap) {
  const int64_t width = static_cast<int64_t>(values.size()) / rows;
  Buffer memory = Buffer::host(rows * (width + gap) * size_of(dtype));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width + gap; ++i) {
      put_value(memory.data(), dtype, static_cast<size_t>(row * (width + gap) + i),
                i < width ? values[static_cast<size_t>(row * width + i)]
                          : std::numeric_limits<float>::quiet_NaN());
    }
  }
  return memory;
}

// The values of a tensor whose memory, gaps included, lies at `memory` on the host.
inline std::vector<float> gather_rows(const void* memory, const Tensor& tensor) {
  std::vector<float> values;
  for (int64_t row = 0; row < tensor.rows(); ++row) {
    for (int64_t i = 0; i < tensor.columns(); ++i)
      values.push_back(
          get_value(memory, tensor.dtype, static_cast<size_t>(row * tensor.row_stride + i)));
  }
  return values;
}

// --- the devices ---------------------------------------------------------------------------------

// What a device under test holds, and whether it measures.
struct TestSizes {
  int64_t arena_bytes = int64_t{1} << 26;
  int64_t weight_bytes = int64_t{1} << 28;
  int64_t max_num_tokens = 4096;
  int64_t max_num_sequences = 256;
  int64_t max_seq_len = 8192;
  int num_threads = 3;
  bool compares = true;
};

class CpuTestDevice : public TestDevice {
 public:
  CpuTestDevice(cpu::Isa isa, Precision precision, const TestSizes& sizes = {})
      : TestDevice(sizes.compares),
        pool_(sizes.num_threads),
        ops_(pool_, isa, precision, sizes.arena_bytes),
        arena_bytes_(sizes.arena_bytes) {}

  Ops& ops() override { return ops_; }

  double copy_rate() override {
    constexpr int64_t kBytes = 256 << 20;
    const Buffer from = Buffer::host(kBytes);
    const Buffer to = Buffer::host(kBytes);
    std::memset(from.data(), 1, kBytes);
    run([&] {
      pool_.parallel_ranges(kBytes, 1 << 20, [&](int64_t begin, int64_t end) {
        std::memcpy(static_cast<std::byte*>(to.data()) + begin,
                    static_cast<const std::byte*>(from.data()) + begin,
                    static_cast<size_t>(end - begin));
      });
    });
    return 2.0 * kBytes / seconds();
  }

  void poison() override {
    Arena& arena = ops_.arena();
    arena.reset();
    std::memset(arena.allocate(DType::kU8, {arena_bytes_}).data, 0xff,
                static_cast<size_t>(arena_bytes_));
    arena.reset();
  }

  Tensor upload(const std::vector<float>& values, DType dtype, int64_t rows, int64_t gap) override {
    const int64_t width = static_cast<int64_t>(values.size()) / rows;
    const Buffer& memory = uploads_.emplace_back(spread_rows(values, dtype, rows, gap));
    return Tensor::contiguous(memory.data(), dtype, {rows, width + gap}).slice_columns(0, width);
  }

  std::vector<float> download(const Tensor& tensor) override {
    return gather_rows(tensor.data, tensor);
  }

 private:
  ThreadPool pool_;
  CpuOps ops_;
  int64_t arena_bytes_;
  std::vector<Buffer> uploads_;
};

class CudaTestDevice : public TestDevice {
 public:
  explicit CudaTestDevice(Precision precision, const TestSizes& sizes = {})
      : TestDevice(sizes.compares),
        pool_(sizes.num_threads),
        backend_(load_cuda_backend()),
        gpu_(backend_.gpus().front()),
        arena_bytes_(sizes.arena_bytes) {
    const cuda::Arch arch = cuda::native_arch(gpu_.capability);
    const auto kernels = cuda::all_kernels(precision.hidden, arch);
    ops_ = backend_.make_ops({.device = gpu_.index,
                              .arch = arch,
                              .precision = precision,
                              .weight_bytes = sizes.weight_bytes,
                              .arena_bytes = sizes.arena_bytes,
                              .max_num_tokens = sizes.max_num_tokens,
                              .max_num_sequences = sizes.max_num_sequences,
                              .max_seq_len = sizes.max_seq_len,
                              .max_logits_rows = sizes.max_num_sequences,
                              .kernels = compile_kernels(backend_, kernels, arch, {}).kernels});
  }

  Ops& ops() override { return *ops_; }

  double copy_rate() override {
    constexpr int64_t kBytes = int64_t{2} << 30;
    const Buffer from = backend_.allocate(gpu_.index, kBytes);
    const Buffer to = backend_.allocate(gpu_.index, kBytes);
    run([&] { backend_.copy(gpu_.index, to.data(), from.data(), kBytes); });
    return 2.0 * kBytes / seconds();
  }

  void synchronize() override {
    if (!marker_.data()) marker_ = backend_.allocate(gpu_.index, 4);
    int32_t number = 0;
    backend_.copy(gpu_.index, &number, marker_.data(), 4);
  }

  void poison() override {
    ops_->finish_loading();
    Arena& arena = ops_->arena();
    arena.reset();
    const std::vector<std::byte> poison(static_cast<size_t>(arena_bytes_), std::byte{0xff});
    backend_.copy(gpu_.index, arena.allocate(DType::kU8, {arena_bytes_}).data, poison.data(),
                  arena_bytes_);
    arena.reset();
  }

  void poison(const Tensor& tensor) override {
    if (tensor.device.kind == DeviceKind::kCpu) return TestDevice::poison(tensor);
    const std::vector<std::byte> poison(static_cast<size_t>(tensor.bytes()), std::byte{0xff});
    backend_.copy(gpu_.index, tensor.data, poison.data(), tensor.bytes());
  }

  Tensor upload(const std::vector<float>& values, DType dtype, int64_t rows, int64_t gap) override {
    const int64_t width = static_cast<int64_t>(values.size()) / rows;
    const Buffer host = spread_rows(values, dtype, rows, gap);
    const Buffer& memory = uploads_.emplace_back(backend_.allocate(gpu_.index, host.bytes()));
    backend_.copy(gpu_.index, memory.data(), host.data(), host.bytes());
    return Tensor::contiguous(memory.data(), dtype, {rows, width + gap}, ops_->device())
        .slice_columns(0, width);
  }

  std::vector<float> download(const Tensor& tensor) override {
    const int64_t last_row = (tensor.rows() - 1) * tensor.row_stride;
    const Buffer host = Buffer::host((last_row + tensor.columns()) * size_of(tensor.dtype));
    backend_.copy(gpu_.index, host.data(), tensor.data, host.bytes());
    return gather_rows(host.data(), tensor);
  }

 private:
  ThreadPool pool_;
  CudaBackend& backend_;
  Gpu gpu_;
  int64_t arena_bytes_;
  std::unique_ptr<Ops> ops_;
  Buffer marker_;
  std::vector<Buffer> uploads_;
};

// No device: what an op reads, writes and computes.
class TraceTestDevice : public TestDevice {
 public:
  explicit TraceTestDevice(Precision precision) : TestDevice(false), ops_(Device{}, precision) {}

  Ops& ops() override { return ops_; }
  void run(const std::function<void()>& op) override {
    const size_t before = ops_.traced().size();
    op();
    for (size_t i = before; i < ops_.traced().size(); ++i) {
      const TracedOp& traced = ops_.traced()[i];
      flops_ += static_cast<double>(traced.flops);
      bytes_ += static_cast<double>(traced.weight_bytes + traced.activation_bytes);
    }
  }
  double flops() const { return flops_; }
  double bytes() const { return bytes_; }

  double copy_rate() override { return 0; }
  void poison() override {}
  Tensor upload(const std::vector<float>& values, DType dtype, int64_t rows, int64_t gap) override {
    const int64_t width = static_cast<int64_t>(values.size()) / rows;
    return Tensor::contiguous(nullptr, dtype, {rows, width + gap}).slice_columns(0, width);
  }
  std::vector<float> download(const Tensor& /*tensor*/) override { return {}; }

 private:
  TraceOps ops_;
  double flops_ = 0;
  double bytes_ = 0;
};

struct Backend {
  std::string name;
  Precision precision;
  std::function<std::unique_ptr<TestDevice>(const TestSizes&)> make;
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
                     .make = [=](const TestSizes& sizes) {
                       return std::make_unique<CpuTestDevice>(isa, precision, sizes);
                     }});
    }
  }
}

inline void add_cuda_backends(std::vector<Backend>& all) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const Precision precision{.hidden = dtype, .product = dtype};
    all.push_back({.name = fmt::format("cuda_{}", to_string(dtype)),
                   .precision = precision,
                   .make = [=](const TestSizes& sizes) {
                     return std::make_unique<CudaTestDevice>(precision, sizes);
                   }});
  }
}

// MILLRACE_TEST_DEVICE=cuda: those of the GPU instead, which must be there.
inline std::vector<Backend> all_backends() {
  std::vector<Backend> all;
  if (tests_a_gpu()) {
    add_cuda_backends(all);
  } else {
    add_cpu_backends(all);
  }
  return all;
}

}  // namespace millrace
