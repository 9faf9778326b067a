// Loops of fused multiply-adds that touch no memory.
#include "kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "base/error.h"
#include "tensor/buffer.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace millrace::bench {

namespace {

constexpr int64_t kSteps = 4000;
constexpr int kChains = 24;  // more than latency times ports of any processor

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

#if defined(__x86_64__)
__attribute__((target("avx512f"), noipa)) float fma_loop_512() {
  __m512 sum[kChains];
  for (int j = 0; j < kChains; ++j) sum[j] = _mm512_set1_ps(static_cast<float>(j));
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (int j = 0; j < kChains; ++j) sum[j] = _mm512_fmadd_ps(sum[j], a, b);
  }
  float result = 0.0f;
  for (const __m512& x : sum) result += _mm512_cvtss_f32(x);
  return result;
}

__attribute__((target("avx2,fma"), noipa)) float fma_loop_256() {
  constexpr int kRegisters = 12;
  __m256 sum[kRegisters];
  for (int j = 0; j < kRegisters; ++j) sum[j] = _mm256_set1_ps(static_cast<float>(j));
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t i = 0; i < kSteps * kChains / kRegisters; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < kRegisters; ++j) sum[j] = _mm256_fmadd_ps(sum[j], a, b);
  }
  float result = 0.0f;
  for (const __m256& x : sum) result += _mm256_cvtss_f32(x);
  return result;
}

__attribute__((target("avx2"), noipa)) int64_t read_memory(const char* p, int64_t bytes) {
  __m256i sum[4] = {};
  for (const char* end = p + bytes; p < end; p += 128) {
    for (int j = 0; j < 4; ++j)
      sum[j] = _mm256_xor_si256(sum[j],
                                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * j)));
  }
  const __m256i all =
      _mm256_xor_si256(_mm256_xor_si256(sum[0], sum[1]), _mm256_xor_si256(sum[2], sum[3]));
  return _mm256_extract_epi64(all, 0);
}
#else
__attribute__((noipa)) int64_t read_memory(const char* p, int64_t bytes) {
  int64_t sum = 0;
  for (int64_t i = 0; i < bytes; i += 8) sum ^= *reinterpret_cast<const int64_t*>(p + i);
  return sum;
}
#endif

}  // namespace

double read_bandwidth(ThreadPool& pool) {
  constexpr int64_t kBytes = int64_t{512} << 20;  // beyond the last cache
  static const Buffer memory = [] {
    Buffer buffer = Buffer::host(kBytes);
    std::memset(buffer.data(), 1, kBytes);
    return buffer;
  }();
  double best = 0.0;
  for (int run = 0; run < 5; ++run) {
    const double begin = now();
    pool.run([&](int thread) {
      const PartitionRange mine = partition(kBytes / 4096, pool.num_threads(), thread);
      benchmark::DoNotOptimize(
          read_memory(static_cast<const char*>(memory.data()) + mine.begin * 4096,
                      (mine.end - mine.begin) * 4096));
    });
    best = std::max(best, kBytes / (now() - begin));
  }
  return best;
}

double fma_peak(ThreadPool& pool, cpu::Isa isa) {
  double best = 0.0;
  for (int run = 0; run < 12; ++run) {
    double lanes = 0.0;
    const double begin = now();
    pool.run([&](int thread) {
      if (thread == 0) lanes = isa >= cpu::Isa::kAvx512 ? 16.0 : 8.0;
#if defined(__x86_64__)
      if (isa >= cpu::Isa::kAvx512) return benchmark::DoNotOptimize(fma_loop_512());
      if (isa == cpu::Isa::kAvx2) return benchmark::DoNotOptimize(fma_loop_256());
#endif
    });
    const double seconds = now() - begin;
    best = std::max(best, 2.0 * kSteps * kChains * lanes * pool.num_threads() / seconds);
  }
  return isa == cpu::Isa::kPortable ? 0.0 : best;
}

int num_threads() {
  const char* chosen = std::getenv("MILLRACE_BENCH_THREADS");
  return chosen ? std::atoi(chosen) : static_cast<int>(std::thread::hardware_concurrency());
}

cpu::Isa isa() {
  const char* chosen = std::getenv("MILLRACE_BENCH_ISA");
  const cpu::Isa best = cpu::best_isa(cpu_features());
  return chosen ? std::min(cpu::isa_from_name(chosen).value_or(best), best) : best;
}

std::vector<float> random_values(int64_t count) {
  std::mt19937 engine(1);
  std::uniform_real_distribution<float> distribution(-1.0f, 1.0f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = distribution(engine);
  return values;
}

FlopCounters::~FlopCounters() {
  const double peak = (peak_before_ + fma_peak(pool_, isa())) / 2.0;
  state_.counters["GFLOP/s"] = flops_ / best_ / 1e9;
  state_.counters["best_us"] = best_ * 1e6;
  if (peak > 0.0) state_.counters["%peak"] = 100.0 * flops_ / best_ / peak;
}

void FlopCounters::start() {
  started_ = now();
}

void FlopCounters::stop() {
  best_ = std::min(best_, now() - started_);
}

}  // namespace millrace::bench
