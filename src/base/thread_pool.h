// A fixed set of threads for data-parallel loops.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace millrace {

// One caller at a time runs loops on the pool; the caller is thread 0 and works too.
// Between loops the workers spin for a few microseconds and then sleep.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // including the caller; at least 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const;

  // body(index) for each index in [0, count), each exactly once, in any order, on any thread.
  // The body must not throw and must not call the pool.
  void parallel_for(int64_t count, const std::function<void(int64_t index)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace
