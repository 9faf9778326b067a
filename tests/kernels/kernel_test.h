// What tests of kernels share: fresh random inputs, poisoned and guarded outputs, the list of
// instruction sets.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"

namespace millrace::cpu {

// Random values from a seed that is new in each run; MILLRACE_TEST_SEED repeats one.
class Random {
 public:
  Random() : seed_(choose_seed()), engine_(seed_) {}

  uint32_t seed() const { return seed_; }
  int64_t integer(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(engine_);
  }
  std::vector<float> normal(int64_t count, float deviation = 1.0f, float mean = 0.0f) {
    std::normal_distribution<float> distribution(mean, deviation);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = distribution(engine_);
    return values;
  }

 private:
  static uint32_t choose_seed() {
    const char* fixed = std::getenv("MILLRACE_TEST_SEED");
    return fixed ? static_cast<uint32_t>(std::strtoul(fixed, nullptr, 10)) : std::random_device{}();
  }

  uint32_t seed_;
  std::mt19937 engine_;
};

// An output of `count` elements, all NaN, between guards that must not change.
template <typename T>
class Guarded {
 public:
  explicit Guarded(int64_t count)
      : count_(static_cast<size_t>(count)), values_(count_ + 2 * kGuard) {
    std::memset(values_.data(), 0xff, values_.size() * sizeof(T));
  }

  T* data() { return values_.data() + kGuard; }
  const T* data() const { return values_.data() + kGuard; }
  std::vector<T> values() const { return {data(), data() + count_}; }

  // Also the gaps between rows: `width` elements are written of every `stride`.
  bool untouched_outside(int64_t width, int64_t stride) const {
    for (size_t i = 0; i < values_.size(); ++i) {
      const bool guard = i < kGuard || i >= kGuard + count_;
      const bool gap = static_cast<int64_t>(i - kGuard) % stride >= width;
      if ((guard || gap) && !is_poison(values_[i])) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 64;

  static bool is_poison(const T& value) {
    T poison;
    std::memset(&poison, 0xff, sizeof(T));
    return std::memcmp(&value, &poison, sizeof(T)) == 0;
  }

  size_t count_;
  std::vector<T> values_;
};

// 64-byte aligned memory, as packed weights want it.
class AlignedBytes {
 public:
  explicit AlignedBytes(int64_t bytes) : storage_(static_cast<size_t>(bytes) + 64) {}
  void* data() {
    const auto address = reinterpret_cast<uintptr_t>(storage_.data());
    return storage_.data() + (64 - address % 64) % 64;
  }

 private:
  std::vector<unsigned char> storage_;
};

// A test that runs once for each instruction set of this machine.
class KernelTest : public testing::TestWithParam<Isa> {
 protected:
  KernelTest()
      : trace_(__FILE__, __LINE__, "MILLRACE_TEST_SEED=" + std::to_string(random.seed())) {}

  const Kernels& kernels = kernels_for(GetParam());
  Random random;
  ThreadPool pool{2};

 private:
  testing::ScopedTrace trace_;
};

inline std::string isa_test_name(const testing::TestParamInfo<Isa>& info) {
  return std::string(to_string(info.param));
}

#define INSTANTIATE_KERNEL_TEST(suite)                                                     \
  INSTANTIATE_TEST_SUITE_P(Isas, suite, testing::ValuesIn(supported_isas(cpu_features())), \
                           isa_test_name)

}  // namespace millrace::cpu
