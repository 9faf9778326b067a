// Workers wait on an epoch counter: a short spin for the next op of a step, then a futex.
#include "base/thread_pool.h"

#include <atomic>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/thread_name.h"

namespace millrace {

namespace {

// Some tens of microseconds on current processors: longer than the gap between two ops of a step,
// shorter than the gap between two requests.
constexpr int kSpins = 1000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  // Written by the caller and read by all workers.
  alignas(64) std::atomic<uint32_t> epoch{0};  // one more for each loop, and for the end
  Task task;                                   // published by `epoch`
  bool stopping = false;                       // published by `epoch`
  // Written by the workers.
  alignas(64) std::atomic<int> running{0};  // workers that have not finished the loop
  // Touched by the caller alone, save for the check that there is but one.
  alignas(64) std::atomic<bool> busy{false};
  std::vector<std::thread> workers;

  void work(int thread) {
    uint32_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && epoch.load(std::memory_order_acquire) == seen; ++spin)
        pause();
      epoch.wait(seen, std::memory_order_acquire);
      ++seen;
      if (stopping) return;
      task.call(task.body, thread);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) running.notify_one();
    }
  }

  void publish() {
    epoch.fetch_add(1, std::memory_order_release);
    epoch.notify_all();
  }

  void await_workers() {
    int left;
    for (int spin = 0; spin < kSpins; ++spin) {
      if (running.load(std::memory_order_acquire) == 0) return;
      pause();
    }
    while ((left = running.load(std::memory_order_acquire)) != 0)
      running.wait(left, std::memory_order_acquire);
  }

  void stop() {
    stopping = true;
    publish();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads), state_(std::make_unique<State>()) {
  CHECK(num_threads >= 1, "num_threads is {}", num_threads);
  try {
    for (int thread = 1; thread < num_threads; ++thread)
      state_->workers.emplace_back([state = state_.get(), thread] {
        name_thread("compute");
        state->work(thread);
      });
  } catch (...) {
    state_->stop();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  state_->stop();
}

void ThreadPool::run_task(Task task) {
  CHECK(!state_->busy.exchange(true, std::memory_order_acquire), "two callers on one pool");
  state_->task = task;
  state_->running.store(num_threads_ - 1, std::memory_order_relaxed);
  state_->publish();
  task.call(task.body, 0);
  state_->await_workers();
  state_->busy.store(false, std::memory_order_release);
}

}  // namespace millrace
