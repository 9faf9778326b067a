// The ceiling that benchmarks of kernels are measured against, and what they share.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/cpu/isa.h"

namespace millrace::bench {

// Operations per second of independent fused multiply-adds in registers, on all threads of the
// pool at once, in vectors of the instruction set (two operations each). The best of some runs of
// a millisecond: clocks change with load, so it is taken beside each benchmark.
double fma_peak(ThreadPool& pool, cpu::Isa isa);

// Bytes per second that all threads of the pool read at once from memory that no cache holds. The
// best of some runs.
double read_bandwidth(ThreadPool& pool);

// As many threads as the machine has, or MILLRACE_BENCH_THREADS.
int num_threads();

// The best instruction set, or the one named by MILLRACE_BENCH_ISA.
cpu::Isa isa();

std::vector<float> random_values(int64_t count);

// Counters "GFLOP/s" and "%peak" for `flops` operations per iteration. The peak is the mean of the
// one before the loop and the one after it.
class FlopCounters {
 public:
  FlopCounters(benchmark::State& state, ThreadPool& pool, double flops)
      : state_(state), pool_(pool), flops_(flops), peak_before_(fma_peak(pool, isa())) {}
  ~FlopCounters();
  FlopCounters(const FlopCounters&) = delete;
  FlopCounters& operator=(const FlopCounters&) = delete;

  // Around the work of one iteration; the best iteration gives the figures.
  void start();
  void stop();

 private:
  benchmark::State& state_;
  ThreadPool& pool_;
  double flops_;
  double peak_before_;
  double started_ = 0.0;  // s
  double best_ = 1e9;     // s
};

}  // namespace millrace::bench
