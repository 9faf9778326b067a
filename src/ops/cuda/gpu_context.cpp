// Contexts, streams, events and allocations.
#include "ops/cuda/gpu_context.h"

#include <array>

namespace millrace::cuda {

namespace {

Gpu describe_gpu(const Driver& driver, int index) {
  CUdevice device = 0;
  MILLRACE_CUDA(driver, device_get(&device, index));
  std::array<char, 256> name{};
  MILLRACE_CUDA(driver, device_name(name.data(), static_cast<int>(name.size()), device));
  int major = 0;
  int minor = 0;
  MILLRACE_CUDA(driver,
                device_attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
  MILLRACE_CUDA(driver,
                device_attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
  size_t bytes = 0;
  MILLRACE_CUDA(driver, device_total_memory(&bytes, device));
  return {.index = index,
          .name = name.data(),
          .capability = 10 * major + minor,
          .total_bytes = static_cast<int64_t>(bytes)};
}

}  // namespace

std::vector<Gpu> list_gpus(const Driver& driver) {
  int count = 0;
  MILLRACE_CUDA(driver, device_count(&count));
  std::vector<Gpu> gpus;
  for (int i = 0; i < count; ++i) gpus.push_back(describe_gpu(driver, i));
  return gpus;
}

GpuContext::GpuContext(const Driver& driver, int device) : driver_(driver) {
  const std::vector<Gpu> gpus = list_gpus(driver_);
  CHECK(device >= 0 && device < static_cast<int>(gpus.size()), "cuda:{} of {} GPUs", device,
        gpus.size());
  gpu_ = gpus[static_cast<size_t>(device)];
  CUdevice handle = 0;
  MILLRACE_CUDA(driver_, device_get(&handle, device));
  MILLRACE_CUDA(driver_, primary_context_retain(&context_, handle));
  make_current();
  MILLRACE_CUDA(driver_, stream_create(&stream_, CU_STREAM_NON_BLOCKING));
}

GpuContext::~GpuContext() {
  driver_.context_set_current(context_);
  driver_.stream_destroy(stream_);  // the primary context stays: other ops may share it
}

void GpuContext::make_current() const {
  MILLRACE_CUDA(driver_, context_set_current(context_));
}

Buffer GpuContext::allocate(int64_t bytes) const {
  CUdeviceptr pointer = 0;
  const CUresult result =
      driver_.memory_allocate(&pointer, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    throw Error(ErrorCode::kIo,
                fmt::format("{} bytes of memory cannot be had on {} ({} are free)", bytes,
                            to_string(device()), free_bytes()),
                "lower max_num_tokens, or free the GPU's memory");
  }
  driver_.check(result, "memory_allocate");
  return Buffer(reinterpret_cast<void*>(pointer), bytes, device(), [this](void* data) {
    driver_.context_set_current(context_);
    driver_.memory_free(address_of(data));
  });
}

Buffer GpuContext::allocate_pinned(int64_t bytes) const {
  void* pointer = nullptr;
  const CUresult result =
      driver_.host_allocate(&pointer, static_cast<size_t>(std::max<int64_t>(bytes, 1)), 0);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    throw Error(ErrorCode::kIo, fmt::format("{} bytes of pinned memory cannot be had", bytes),
                "lower max_num_tokens, or free memory of this machine");
  }
  driver_.check(result, "host_allocate");
  return Buffer(pointer, bytes, Device{}, [this](void* data) {
    driver_.context_set_current(context_);
    driver_.host_free(data);
  });
}

int64_t GpuContext::free_bytes() const {
  size_t available = 0;
  size_t total = 0;
  MILLRACE_CUDA(driver_, memory_info(&available, &total));
  return static_cast<int64_t>(available);
}

Event::Event(const GpuContext& context) : context_(context) {
  MILLRACE_CUDA(context_.driver(), event_create(&event_, CU_EVENT_DISABLE_TIMING));
}

Event::~Event() {
  context_.driver().event_destroy(event_);
}

void Event::record(CUstream stream) const {
  MILLRACE_CUDA(context_.driver(), event_record(event_, stream));
}

void Event::wait() const {
  MILLRACE_CUDA(context_.driver(), event_synchronize(event_));
}

}  // namespace millrace::cuda
