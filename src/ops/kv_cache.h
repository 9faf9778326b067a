// KvCache: the keys and values of all layers, in blocks of equal numbers of positions.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace millrace {

// Layers that see the same keys share block tables: one group sees all, another a window.
struct KvGroupSpec {
  int64_t window = 0;  // keys that a query sees, its own included; 0: all before it

  bool operator==(const KvGroupSpec&) const = default;
};

struct KvLayerSpec {
  size_t group = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
};

// What a model keeps of each position. Empty for models that keep nothing.
struct KvCacheSpec {
  std::vector<KvGroupSpec> groups;
  std::vector<KvLayerSpec> layers;

  // Of one position in the layers of a group, or in all layers.
  int64_t bytes_per_token(size_t group, DType dtype) const;
  int64_t bytes_per_token(DType dtype) const;
};

// What a cache is given: blocks on the device, and on the host for those that were evicted.
struct KvCacheSize {
  int64_t block_size = 32;               // positions; a multiple of 16
  std::vector<int64_t> num_blocks;       // [groups]
  std::vector<int64_t> num_host_blocks;  // [groups], or empty: none
};

// One layer's memory. The order of values within a block is the backend's own; the shapes say how
// many there are.
struct KvLayer {
  Tensor k;  // [num_blocks, num_kv_heads, block_size, head_dim]
  Tensor v;  // the same
  size_t group = 0;
};

// Copies whole blocks of a group, in all its layers: for copy-on-write, and for the way to the host
// and back.
struct KvCopy {
  enum class Kind : uint8_t { kWithinDevice, kToHost, kFromHost };

  Kind kind = Kind::kWithinDevice;
  size_t group = 0;
  int32_t from = 0;
  int32_t to = 0;

  bool operator==(const KvCopy&) const = default;
};

struct KvCache {
  KvCacheSpec spec;
  KvCacheSize size;
  DType dtype = DType::kF32;
  std::vector<KvLayer> layers;       // as in the spec
  std::vector<KvLayer> host_layers;  // empty: no blocks on the host
  Buffer memory;
  Buffer host_memory;
};

}  // namespace millrace
