// Drawing one token from 150k logits, beside one read of them.
#include "kernels/cpu/sampling.h"

#include <benchmark/benchmark.h>

#include <bit>
#include <random>
#include <vector>

namespace millrace::cpu {
namespace {

constexpr int64_t kVocab = 151'936;  // of Qwen

std::vector<float> random_logits() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(kVocab);
  for (float& x : logits) x = normal(random);
  return logits;
}

void run(benchmark::State& state, const SampleRow& row) {
  ThreadPool pool(1);
  const std::vector<float> logits = random_logits();
  std::vector<float> scratch(kVocab);
  SampleRow rows[] = {row};
  int32_t token = 0;
  float logprob = 0;
  int32_t rank = 0;
  std::vector<int32_t> top_tokens(20);
  std::vector<float> top_logprobs(20);
  for (auto _ : state) {
    ++rows[0].position;
    sample(pool, {.logits = logits.data(),
                  .logits_stride = kVocab,
                  .vocab = kVocab,
                  .rows = rows,
                  .scratch = scratch.data(),
                  .top_stride = 20,
                  .tokens = &token,
                  .logprobs = &logprob,
                  .ranks = &rank,
                  .top_tokens = top_tokens.data(),
                  .top_logprobs = top_logprobs.data()});
    benchmark::DoNotOptimize(token);
  }
  state.SetBytesProcessed(state.iterations() * kVocab * 4);
}

void one_read(benchmark::State& state) {
  const std::vector<float> logits = random_logits();
  for (auto _ : state) {
    uint64_t bits = 0;
    for (const float x : logits) bits |= std::bit_cast<uint32_t>(x);
    benchmark::DoNotOptimize(bits);
  }
  state.SetBytesProcessed(state.iterations() * kVocab * 4);
}

BENCHMARK(one_read)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, greedy, {.temperature = 0})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, temperature, {.temperature = 0.7f})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, top_p, {.temperature = 0.7f, .top_p = 0.9f})->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, top_k_top_p, {.temperature = 0.7f, .top_k = 50, .top_p = 0.9f})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(run, greedy_logprobs, {.temperature = 0, .num_top = 20})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace::cpu
