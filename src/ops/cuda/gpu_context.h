// GpuContext: one GPU as the ops use it: its primary context, one stream, and its memory.
#pragma once

#include <vector>

#include "ops/cuda/driver.h"
#include "ops/cuda_backend.h"
#include "tensor/buffer.h"

namespace millrace::cuda {

std::vector<Gpu> list_gpus(const Driver& driver);

// The driver keeps a current context per thread: every function of the ops begins with
// make_current(). Buffers must not outlive the context.
class GpuContext {
 public:
  GpuContext(const Driver& driver, int device);  // `device`: an index into list_gpus()
  ~GpuContext();
  GpuContext(const GpuContext&) = delete;
  GpuContext& operator=(const GpuContext&) = delete;

  const Driver& driver() const { return driver_; }
  const Gpu& gpu() const { return gpu_; }
  Device device() const { return {.kind = DeviceKind::kCuda, .index = gpu_.index}; }
  CUstream stream() const { return stream_; }
  void make_current() const;

  // Device memory, and pinned host memory. Throws Error{kIo} naming the size when there is none.
  Buffer allocate(int64_t bytes) const;
  Buffer allocate_pinned(int64_t bytes) const;
  int64_t free_bytes() const;  // of device memory

 private:
  Driver driver_;
  Gpu gpu_;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
};

inline CUdeviceptr address_of(const void* pointer) {
  return reinterpret_cast<CUdeviceptr>(pointer);
}

// A CUDA event, made on the current context.
class Event {
 public:
  explicit Event(const GpuContext& context);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(CUstream stream) const;
  void wait() const;  // blocks the host until what was recorded is done

 private:
  const GpuContext& context_;
  CUevent event_ = nullptr;
};

}  // namespace millrace::cuda
