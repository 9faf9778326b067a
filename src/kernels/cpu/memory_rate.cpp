// Sums over a block that is larger than every cache.
#include "kernels/cpu/memory_rate.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/clock.h"
#include "tensor/buffer.h"

namespace millrace::cpu {

namespace {

constexpr int64_t kBytes = int64_t{512} << 20;
constexpr int64_t kPage = 4096;

using Words = uint64_t __attribute__((vector_size(32)));

uint64_t read_pages(const std::byte* begin, int64_t num_pages) {
  Words sums[4] = {};
  for (const std::byte* at = begin; at < begin + num_pages * kPage; at += sizeof(sums)) {
    Words words[4];
    std::memcpy(words, at, sizeof(words));
    for (int i = 0; i < 4; ++i) sums[i] ^= words[i];
  }
  const Words all = (sums[0] ^ sums[1]) ^ (sums[2] ^ sums[3]);
  return all[0] ^ all[1] ^ all[2] ^ all[3];
}

}  // namespace

double measure_read_rate(ThreadPool& pool) {
  const Buffer memory = Buffer::host(kBytes);
  auto* bytes = static_cast<std::byte*>(memory.data());
  const auto mine = [&](int thread) {
    return partition(kBytes / kPage, pool.num_threads(), thread);
  };
  pool.run([&](int thread) {  // each thread's part lies near it
    std::memset(bytes + mine(thread).begin * kPage, 1,
                static_cast<size_t>((mine(thread).end - mine(thread).begin) * kPage));
  });
  std::atomic<uint64_t> sum{0};
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const auto begun_at = Clock::now();
    pool.run([&](int thread) {
      sum += read_pages(bytes + mine(thread).begin * kPage, mine(thread).end - mine(thread).begin);
    });
    best = std::max(best, static_cast<double>(kBytes) / seconds(Clock::now() - begun_at));
  }
  return sum == 1 ? 0 : best;  // the sum is wanted, so that it is computed
}

}  // namespace millrace::cpu
