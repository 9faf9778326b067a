// A fixed set of threads for data-parallel loops with a static partition.
#pragma once

#include <cstdint>
#include <memory>

namespace millrace {

// The half-open range of `part` when [0, count) is cut into `parts` ranges of nearly equal size.
// The same count always gives the same cut, so a thread meets the same rows in each op of a step
// and finds its part of the activations in its own cache.
struct PartitionRange {
  int64_t begin = 0;
  int64_t end = 0;
};

constexpr PartitionRange partition(int64_t count, int64_t parts, int64_t part) {
  const int64_t base = count / parts;
  const int64_t extra = count % parts;
  const int64_t begin = part * base + (part < extra ? part : extra);
  return {.begin = begin, .end = begin + base + (part < extra ? 1 : 0)};
}

// One caller at a time runs loops on the pool (checked); the caller is thread 0 and works too.
// Between loops the workers spin for some tens of microseconds and then sleep. Bodies must not
// throw and must not call the pool. What the caller wrote before a loop is visible to its bodies,
// and what they wrote is visible to the caller after it.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // including the caller; at least 1
  ~ThreadPool();                         // waits for the workers to end; no loop may be running
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // body(thread) once for each thread in [0, num_threads), at the same time.
  template <typename Body>
  void run(const Body& body) {
    if (num_threads_ == 1) return body(0);
    run_task({.body = &body,
              .call = [](const void* b, int thread) { (*static_cast<const Body*>(b))(thread); }});
  }

  // body(begin, end) on the parts of [0, count): at most one part per thread, none empty, and no
  // more parts than `count / grain` rounded up.
  template <typename Body>
  void parallel_ranges(int64_t count, int64_t grain, const Body& body) {
    if (count <= 0) return;
    const int64_t wanted = (count + grain - 1) / grain;
    const int64_t parts = wanted < num_threads_ ? wanted : num_threads_;
    if (parts == 1) return body(int64_t{0}, count);
    run([&](int thread) {
      if (thread >= parts) return;
      const PartitionRange range = partition(count, parts, thread);
      body(range.begin, range.end);
    });
  }

  // body(index) for each index in [0, count), each exactly once; a thread gets neighbours.
  template <typename Body>
  void parallel_for(int64_t count, const Body& body) {
    parallel_ranges(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) body(index);
    });
  }

 private:
  struct Task {
    const void* body = nullptr;
    void (*call)(const void* body, int thread) = nullptr;
  };
  struct State;

  void run_task(Task task);

  int num_threads_;
  std::unique_ptr<State> state_;
};

}  // namespace millrace
