// The pool runs each part exactly once, publishes memory both ways, and ends cleanly.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "base/error.h"

namespace millrace {
namespace {

TEST(PartitionTest, PartsAreAdjacentAndNearlyEqual) {
  for (int64_t count : {0, 1, 2, 7, 64, 1001}) {
    for (int64_t parts : {1, 2, 3, 8, 100}) {
      int64_t at = 0;
      for (int64_t part = 0; part < parts; ++part) {
        const PartitionRange range = partition(count, parts, part);
        EXPECT_EQ(range.begin, at);
        EXPECT_GE(range.end - range.begin, count / parts);
        EXPECT_LE(range.end - range.begin, (count + parts - 1) / parts);
        at = range.end;
      }
      EXPECT_EQ(at, count);
    }
  }
}

TEST(ThreadPoolTest, RunsEachThreadOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    std::vector<int> calls(static_cast<size_t>(threads));
    pool.run([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
    EXPECT_EQ(calls, std::vector<int>(static_cast<size_t>(threads), 1));
  }
}

TEST(ThreadPoolTest, ParallelForCoversEachIndexOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int64_t count : {0, 1, 2, 5, 1000}) {
      std::vector<int> calls(static_cast<size_t>(count));
      pool.parallel_for(count, [&](int64_t index) { ++calls[static_cast<size_t>(index)]; });
      EXPECT_EQ(calls, std::vector<int>(static_cast<size_t>(count), 1));
    }
  }
}

TEST(ThreadPoolTest, SmallLoopsStayOnTheCaller) {
  ThreadPool pool(3);
  const auto caller = std::this_thread::get_id();
  pool.parallel_ranges(10, 10, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 10);
  });
  std::atomic<int> parts{0};
  pool.parallel_ranges(11, 10, [&](int64_t, int64_t) { ++parts; });
  EXPECT_EQ(parts, 2);
}

// Plain memory goes from loop to loop: a missing ordering is a data race under the thread
// sanitizer.
TEST(ThreadPoolTest, LoopsSeeWhatWasWrittenBefore) {
  ThreadPool pool(3);
  std::vector<int64_t> values(999);
  for (int round = 1; round <= 2000; ++round) {
    values[static_cast<size_t>(round) % values.size()] += round;
    pool.parallel_for(static_cast<int64_t>(values.size()),
                      [&](int64_t i) { values[static_cast<size_t>(i)] += 1; });
  }
  const int64_t sum = std::accumulate(values.begin(), values.end(), int64_t{0});
  EXPECT_EQ(sum, 999 * 2000 + 2000 * 2001 / 2);
}

TEST(ThreadPoolTest, WakesWorkersThatSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> calls{0};
    pool.run([&](int) { ++calls; });
    EXPECT_EQ(calls, 3);
  }
}

TEST(ThreadPoolTest, WaitsForSlowWorkers) {
  ThreadPool pool(2);
  bool done = false;
  pool.run([&](int thread) {
    if (thread == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    done = true;
  });
  EXPECT_TRUE(done);
}

TEST(ThreadPoolTest, EndsAtOnceWhetherUsedOrNot) {
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool(3);
    if (round % 2 == 0) pool.run([](int) {});
  }
}

TEST(ThreadPoolTest, RefusesASecondCaller) {
  ThreadPool pool(2);
  std::atomic<bool> refused{false};
  pool.run([&](int thread) {
    if (thread != 0) return;
    std::thread other([&] {
      try {
        pool.run([](int) {});
      } catch (const InternalError&) {
        refused = true;
      }
    });
    other.join();
  });
  EXPECT_TRUE(refused);
  EXPECT_THROW(ThreadPool(0), InternalError);
}

}  // namespace
}  // namespace millrace
