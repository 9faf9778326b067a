// What the bookkeeping of a decoder's step costs, without a model: blocks, schedule, packing. A
// step of 256 sequences should cost no more than 50 us.
#include <benchmark/benchmark.h>

#include "runtime/decode_runner.h"

namespace millrace::bench {
namespace {

constexpr int64_t kBatch = 256;
constexpr int64_t kPromptTokens = 128;
constexpr int64_t kMaxSeqLen = 1 << 20;
constexpr int64_t kWindow = 4096;

BlockManagerConfig pool(int64_t num_groups) {
  BlockManagerConfig config{.seed = 1};
  for (int64_t i = 0; i < num_groups; ++i)
    config.groups.push_back(
        {.block_size = 16, .num_blocks = 1 << 17, .window = i == 0 ? 0 : kWindow});
  return config;
}

std::vector<int32_t> prompt_of(int64_t index) {
  std::vector<int32_t> tokens(kPromptTokens, 1);
  tokens[0] = static_cast<int32_t>(index);
  return tokens;
}

// One more token for each of 256 sequences: extend and commit.
void append_tokens(benchmark::State& state) {
  const int64_t num_groups = state.range(0);
  constexpr int64_t kSteps = 4096;  // then all begin again, untimed
  int64_t step = kSteps;
  std::unique_ptr<BlockManager> blocks;
  std::vector<SequenceId> ids;
  std::vector<std::vector<int32_t>> tokens(kBatch);
  for (auto _ : state) {
    if (step == kSteps) {
      state.PauseTiming();
      step = 0;
      ids.clear();
      blocks = std::make_unique<BlockManager>(pool(num_groups));
      for (int64_t i = 0; i < kBatch; ++i) {
        std::vector<int32_t>& mine = tokens[static_cast<size_t>(i)];
        mine = prompt_of(i);
        mine.reserve(kPromptTokens + kSteps);
        ids.push_back(*blocks->add(
            {.prompt = mine, .max_num_tokens = kPromptTokens + kSteps, .promised = false}));
        blocks->extend(ids.back(), kPromptTokens);
        blocks->commit(ids.back(), mine);
      }
      state.ResumeTiming();
    }
    ++step;
    for (size_t i = 0; i < ids.size(); ++i) {
      benchmark::DoNotOptimize(blocks->extend(ids[i], 1));
      tokens[i].push_back(2);
      blocks->commit(ids[i], tokens[i]);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(append_tokens)->ArgName("groups")->Arg(1)->Arg(2)->Unit(benchmark::kMicrosecond);

// A step of decodes from the look for dropped requests to the commit of its tokens.
void decode_step(benchmark::State& state) {
  const auto policy = static_cast<BatchSchedulerPolicy>(state.range(0));
  const int64_t batch = state.range(1);
  BlockManager blocks(pool(1));
  DecodeScheduler scheduler({.max_num_tokens = 8192,
                             .max_batch_size = batch,
                             .max_seq_len = kMaxSeqLen,
                             .total_token_limit = INT64_MAX,
                             .policy = policy},
                            blocks);
  const std::vector<int32_t> sampled = {2};
  int64_t num_added = 0;
  for (auto _ : state) {
    if (scheduler.empty()) {
      state.PauseTiming();
      for (int64_t i = 0; i < batch; ++i) {
        auto request = std::make_shared<DecodeRequest>();
        request->prompt = prompt_of(num_added++);
        request->max_new_tokens = 4096;
        request->handle = std::make_shared<RequestHandle>();
        scheduler.add(std::move(request));
      }
      while (scheduler.num_waiting() > 0) {
        const DecodeStep step = scheduler.next_step();
        for (const DecodeItem& item : step.items)
          scheduler.commit(item, std::span(sampled).first(static_cast<size_t>(item.num_samples)));
      }
      state.ResumeTiming();
    }
    scheduler.drop(Clock::now());
    const DecodeStep step = scheduler.next_step();
    const Batch packed = make_batch(step, blocks);
    benchmark::DoNotOptimize(packed.token_ids.data());
    for (const DecodeItem& item : step.items) {
      scheduler.commit(item, std::span(sampled).first(static_cast<size_t>(item.num_samples)));
      if (item.request->is_full(0)) scheduler.finish(*item.request, 0, FinishReason::kLength);
    }
  }
}
BENCHMARK(decode_step)
    ->ArgNames({"max_utilization", "batch"})
    ->Args({0, 1})
    ->Args({0, 256})
    ->Args({1, 256})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace millrace::bench
