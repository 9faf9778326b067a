// What the engine adds to a step: choosing its sequences, building its batch, handing over its
// rows. The model does nothing, so all the time is ours; a step of 256 sequences should cost some
// 50 us.
#include "runtime/engine_core.h"

#include <benchmark/benchmark.h>

#include <semaphore>

#include "ops/cpu/cpu_ops.h"

namespace millrace::bench {
namespace {

constexpr int64_t kWidth = 384;  // of a row, as MiniLM's
constexpr int64_t kSeqLen = 32;  // tokens
constexpr int64_t kMaxSequences = 256;

StepLimits limits() {
  return {.max_num_tokens = kMaxSequences * kSeqLen,
          .max_num_sequences = kMaxSequences,
          .max_seq_len = 512};
}

Sequence sequence() {
  const std::vector<int32_t> ids(kSeqLen, 1);
  return {.token_ids = ids, .token_type_ids = std::vector<int32_t>(kSeqLen, 0)};
}

std::shared_ptr<ScheduledRequest> scheduled_request(int64_t num_sequences) {
  auto request = std::make_shared<ScheduledRequest>();
  request->handle = std::make_shared<RequestHandle>();
  request->request.sequences.assign(static_cast<size_t>(num_sequences), sequence());
  return request;
}

// Rows of zeros in no time.
class IdleModel : public Model {
 public:
  Output forward(Ops& ops, const Batch& batch) const override {
    return {.vectors = ops.arena().allocate(DType::kF32, {batch.num_sequences(), kWidth})};
  }
};

// Choosing a step of 256 sequences among a backlog, and packing it into a batch.
void schedule_and_pack(benchmark::State& state) {
  const int64_t per_request = state.range(0);
  const int64_t backlog = state.range(1);  // requests that stay in the queue beside the step's
  Scheduler scheduler(limits());
  Batch batch;
  for (auto _ : state) {
    state.PauseTiming();
    scheduler.clear();
    for (int64_t i = 0; i < kMaxSequences / per_request + backlog; ++i)
      scheduler.add(scheduled_request(per_request));
    state.ResumeTiming();
    benchmark::DoNotOptimize(scheduler.drop_finished(Clock::now()));
    const std::vector<StepItem> step = scheduler.next_step();
    batch.clear();
    for (const StepItem& item : step) {
      const Sequence& chosen = item.request->request.sequences[item.sequence];
      batch.append(chosen.token_ids, chosen.token_type_ids);
    }
    benchmark::DoNotOptimize(batch.token_ids.data());
  }
  if (batch.num_sequences() != kMaxSequences) state.SkipWithError("the step was not full");
}
BENCHMARK(schedule_and_pack)
    ->ArgNames({"sequences_per_request", "backlog"})
    ->Args({1, 0})
    ->Args({1, 1000})
    ->Args({16, 0})
    ->Args({256, 0})
    ->Unit(benchmark::kMicrosecond);

// From submit() to the last answer, through the engine thread, of 256 sequences.
void through_the_engine(benchmark::State& state) {
  const int64_t per_request = state.range(0);
  const int64_t num_requests = kMaxSequences / per_request;
  ThreadPool pool(1);
  constexpr int64_t kArenaBytes = kMaxSequences * kWidth * 4;
  EngineCore engine(
      std::make_unique<ModelRunner>(
          std::make_unique<CpuOps>(pool, cpu::Isa::kPortable, Precision{}, kArenaBytes),
          std::make_unique<IdleModel>()),
      limits());
  std::binary_semaphore all_done(0);
  std::atomic<int64_t> left{0};
  for (auto _ : state) {
    state.PauseTiming();
    std::vector<Request> requests;
    for (int64_t i = 0; i < num_requests; ++i) {
      requests.push_back(
          {.sequences = std::vector<Sequence>(static_cast<size_t>(per_request), sequence()),
           .on_done = [&](RequestResult result) {
             benchmark::DoNotOptimize(result.rows.data());
             if (--left == 0) all_done.release();
           }});
    }
    left = num_requests;
    state.ResumeTiming();
    for (Request& request : requests) engine.submit(std::move(request));
    all_done.acquire();
  }
  state.counters["steps"] = benchmark::Counter(static_cast<double>(engine.stats().num_steps),
                                               benchmark::Counter::kAvgIterations);
}
BENCHMARK(through_the_engine)
    ->ArgName("sequences_per_request")
    ->Arg(1)
    ->Arg(16)
    ->Arg(256)
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace::bench
