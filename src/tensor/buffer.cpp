// Host memory for weights and activations.
#include "tensor/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

namespace millrace {

namespace {

constexpr int64_t kCacheLine = 64;  // and the width of an AVX-512 register
constexpr int64_t kHugePage = 2 * 1024 * 1024;
constexpr int64_t kAddressable = int64_t{1} << 47;  // bytes; more is not asked of the allocator

}  // namespace

Buffer Buffer::host(int64_t bytes) {
  // Large blocks lie on huge pages where the system grants them: weights and activations are walked
  // in long strides that would otherwise miss the TLB.
  const bool large = bytes >= 2 * kHugePage;
  const int64_t alignment = large ? kHugePage : kCacheLine;
  void* data = nullptr;
  int64_t rounded = 0;
  if (bytes <= kAddressable) {
    rounded = (std::max<int64_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    data = std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(rounded));
  }
  if (!data) {
    throw Error(ErrorCode::kIo, fmt::format("cannot allocate {} bytes of memory", bytes),
                "use a smaller model or a smaller max_num_tokens, or free memory on this machine");
  }
  if (large) ::madvise(data, static_cast<size_t>(rounded), MADV_HUGEPAGE);  // a wish, not a need
  return {data, bytes, Device{}, [](void* pointer) { std::free(pointer); }};
}

}  // namespace millrace
