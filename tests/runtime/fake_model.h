// A model whose forward pass is the test's: it writes what it is told, throws, waits, or gives NaN.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "ops/cpu/cpu_ops.h"
#include "ops/cuda_backend.h"
#include "runtime/model_runner.h"

namespace millrace {

// Where the engine thread waits until the test lets it go on.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++num_arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void await_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return num_arrived_ > 0; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int num_arrived_ = 0;
  bool open_ = false;
};

// The row of a sequence is its first token, its last token and its length. A first token below zero
// has a meaning of its own.
class FakeModel : public Model {
 public:
  static constexpr int32_t kThrows = -1;         // a std::exception
  static constexpr int32_t kThrowsANumber = -2;  // not a std::exception
  static constexpr int32_t kGivesNaN = -3;
  static constexpr int32_t kGivesInfinity = -4;
  static constexpr int32_t kWaits = -5;      // at the gate
  static constexpr int32_t kLosesRows = -6;  // the output lacks a row
  static constexpr int32_t kLosesDevice = -7;
  static constexpr int64_t kWidth = 3;

  // What the test and the engine thread share.
  struct State {
    Gate gate;
    std::atomic<int> num_steps{0};
    std::mutex mutex;
    std::vector<int32_t> seen;  // the first token of every sequence, in order; guarded by mutex
  };

  explicit FakeModel(std::shared_ptr<State> state) : state_(std::move(state)) {}

  Output forward(Ops& ops, const Batch& batch) const override {
    ++state_->num_steps;
    int64_t rows = batch.num_sequences();
    for (int64_t i = 0; i < batch.num_sequences(); ++i) {
      const int32_t first = batch.token_ids[begin_of(batch, i)];
      note(first);
      if (first == kThrows) throw std::runtime_error("as the test asked");
      if (first == kThrowsANumber) throw 42;
      if (first == kLosesDevice) throw DeviceLost(ErrorCode::kUnavailable, "the GPU failed");
      if (first == kWaits) state_->gate.pass();
      if (first == kLosesRows) rows = batch.num_sequences() - 1;
    }
    const Tensor hidden = ops.arena().allocate(DType::kF32, {batch.num_tokens(), kWidth});
    for (int64_t i = 0; i < batch.num_tokens(); ++i)  // a token's row: itself, three times
      std::ranges::fill(hidden.as<float>().subspan(static_cast<size_t>(i * kWidth), kWidth),
                        static_cast<float>(batch.token_ids[static_cast<size_t>(i)]));
    const Tensor vectors = ops.arena().allocate(DType::kF32, {rows, kWidth});
    const std::span<float> values = vectors.as<float>();
    for (int64_t i = 0; i < rows; ++i)
      write_row(batch, i, values.subspan(static_cast<size_t>(i * kWidth), kWidth));
    return {.hidden = hidden, .vectors = vectors};
  }

 private:
  static size_t begin_of(const Batch& batch, int64_t sequence) {
    return static_cast<size_t>(batch.cu_seqlens[static_cast<size_t>(sequence)]);
  }

  void note(int32_t first) const {
    const std::lock_guard lock(state_->mutex);
    state_->seen.push_back(first);
  }

  static void write_row(const Batch& batch, int64_t sequence, std::span<float> row) {
    const size_t begin = begin_of(batch, sequence);
    const size_t end = begin_of(batch, sequence + 1);
    row[0] = static_cast<float>(batch.token_ids[begin]);
    row[1] = static_cast<float>(batch.token_ids[end - 1]);
    row[2] = static_cast<float>(end - begin);
    if (batch.token_ids[begin] == kGivesNaN) row[1] = std::numeric_limits<float>::quiet_NaN();
    if (batch.token_ids[begin] == kGivesInfinity) row[2] = std::numeric_limits<float>::infinity();
  }

  std::shared_ptr<State> state_;
};

// Ops of a device that works on two steps at a time: results reach the host when they are waited
// for.
class TwoStepOps : public CpuOps {
 public:
  TwoStepOps(ThreadPool& pool, Buffer arena, std::shared_ptr<std::atomic<int>> most_in_flight)
      : OpsContext(Device{}, Precision{}, Arena(arena.data(), arena.bytes(), Device{})),
        CpuOps(pool, cpu::Isa::kPortable, Precision{}, 0),
        arena_memory_(std::move(arena)),
        most_in_flight_(std::move(most_in_flight)) {}

  int max_steps_in_flight() const override { return 2; }

  Step run_step(const Batch& batch, int variant, const Forward& forward) override {
    Step step = CpuOps::run_step(batch, variant, forward);
    CHECK(!step.rows.tokens, "only rows of sequences are sent");
    Half& half = halves_[step.number % 2];
    const auto values = step.rows.sequences->as<const float>();
    half.pending.assign(values.begin(), values.end());
    half.arrived.assign(values.size(), std::numeric_limits<float>::quiet_NaN());
    step.rows.sequences->data = half.arrived.data();
    const int in_flight = static_cast<int>(step.number + 1 - num_waited_);
    if (in_flight > *most_in_flight_) *most_in_flight_ = in_flight;
    return step;
  }

  void wait_step(uint64_t step) override {
    num_waited_ = step + 1;
    Half& half = halves_[step % 2];
    std::ranges::copy(half.pending, half.arrived.begin());
  }

 private:
  struct Half {
    std::vector<float> pending;
    std::vector<float> arrived;
  };

  Buffer arena_memory_;
  std::shared_ptr<std::atomic<int>> most_in_flight_;
  uint64_t num_waited_ = 0;
  Half halves_[2];
};

// The model over ops whose arena holds a step of `max_num_tokens`. `pool` outlives it.
inline std::unique_ptr<ModelRunner> fake_runner(ThreadPool& pool, int64_t max_num_tokens,
                                                std::shared_ptr<FakeModel::State> state) {
  const int64_t bytes = 2 * (max_num_tokens * FakeModel::kWidth * 4 + Arena::kAlignment);
  return std::make_unique<ModelRunner>(
      std::make_unique<CpuOps>(pool, cpu::Isa::kPortable, Precision{}, bytes),
      std::make_unique<FakeModel>(std::move(state)));
}

}  // namespace millrace
