// Ids by a counter that is mixed with a random seed.
#include "http/request_ids.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/random_seed.h"

namespace millrace::http {

namespace {

constexpr size_t kMaxIdBytes = 128;

// The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
// 2014): a bijection, so a process never gives an id twice.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

RequestIds::RequestIds() : seed_(random_seed()) {}

std::string RequestIds::choose(std::string_view sent) {
  const bool fine = !sent.empty() && sent.size() <= kMaxIdBytes &&
                    std::ranges::all_of(sent, [](char c) { return c > ' ' && c < 0x7f; });
  if (fine) return std::string(sent);
  return fmt::format("{:016x}", mix(seed_ + count_.fetch_add(1, std::memory_order_relaxed)));
}

}  // namespace millrace::http
