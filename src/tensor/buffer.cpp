// Host memory for weights and activations.
#include "tensor/buffer.h"

#include <cstdlib>

namespace millrace {

Buffer Buffer::host(int64_t bytes) {
  constexpr int64_t kAlignment = 64;  // a cache line, and the width of an AVX-512 register
  const int64_t rounded = (std::max<int64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* data = std::aligned_alloc(kAlignment, static_cast<size_t>(rounded));
  if (!data) {
    throw Error(ErrorCode::kIo, fmt::format("cannot allocate {} bytes of memory", bytes),
                "use a smaller model or a smaller max_num_tokens, or free memory on this machine");
  }
  return {data, bytes, Device{}, [](void* pointer) { std::free(pointer); }};
}

}  // namespace millrace
