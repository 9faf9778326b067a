// Buffer: owned memory on a device.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "tensor/tensor.h"

namespace millrace {

// Movable, freed on destruction. `free` is called with the pointer that was given.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, int64_t bytes, Device device, std::function<void(void*)> free)
      : data_(data, std::move(free)), bytes_(bytes), device_(device) {}

  // 64-byte aligned host memory, not initialised. Throws Error{kIo} naming the size when there is
  // none.
  static Buffer host(int64_t bytes);

  void* data() const { return data_.get(); }
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  std::unique_ptr<void, std::function<void(void*)>> data_{nullptr, [](void*) {}};
  int64_t bytes_ = 0;
  Device device_;
};

}  // namespace millrace
