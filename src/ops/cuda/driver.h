// Driver: the entry points of libcuda.so.1 that Millrace uses, looked up at run time.
#pragma once

#include <cuda.h>

#include <string>

#include "base/error.h"

namespace millrace::cuda {

// name in the table | entry point | version of CUDA whose form of it is meant
#define MILLRACE_CUDA_ENTRY_POINTS(X)                        \
  X(init, cuInit, 12000)                                     \
  X(driver_version, cuDriverGetVersion, 12000)               \
  X(device_count, cuDeviceGetCount, 12000)                   \
  X(device_get, cuDeviceGet, 12000)                          \
  X(device_name, cuDeviceGetName, 12000)                     \
  X(device_attribute, cuDeviceGetAttribute, 12000)           \
  X(device_total_memory, cuDeviceTotalMem, 12000)            \
  X(primary_context_retain, cuDevicePrimaryCtxRetain, 12000) \
  X(context_set_current, cuCtxSetCurrent, 12000)             \
  X(context_synchronize, cuCtxSynchronize, 12000)            \
  X(memory_info, cuMemGetInfo, 12000)                        \
  X(memory_allocate, cuMemAlloc, 12000)                      \
  X(memory_free, cuMemFree, 12000)                           \
  X(host_allocate, cuMemHostAlloc, 12000)                    \
  X(host_free, cuMemFreeHost, 12000)                         \
  X(copy, cuMemcpy, 12000)                                   \
  X(copy_to_device, cuMemcpyHtoDAsync, 12000)                \
  X(copy_to_host, cuMemcpyDtoHAsync, 12000)                  \
  X(set_memory, cuMemsetD8Async, 12000)                      \
  X(stream_create, cuStreamCreate, 12000)                    \
  X(stream_destroy, cuStreamDestroy, 12000)                  \
  X(stream_synchronize, cuStreamSynchronize, 12000)          \
  X(capture_begin, cuStreamBeginCapture, 12000)              \
  X(capture_end, cuStreamEndCapture, 12000)                  \
  X(graph_instantiate, cuGraphInstantiateWithFlags, 12000)   \
  X(graph_launch, cuGraphLaunch, 12000)                      \
  X(graph_destroy, cuGraphDestroy, 12000)                    \
  X(graph_exec_destroy, cuGraphExecDestroy, 12000)           \
  X(event_create, cuEventCreate, 12000)                      \
  X(event_destroy, cuEventDestroy, 12000)                    \
  X(event_record, cuEventRecord, 12000)                      \
  X(event_synchronize, cuEventSynchronize, 12000)            \
  X(library_load, cuLibraryLoadData, 12000)                  \
  X(library_unload, cuLibraryUnload, 12000)                  \
  X(library_kernels, cuLibraryEnumerateKernels, 12040)       \
  X(kernel_set_attribute, cuKernelSetAttribute, 12000)       \
  X(launch, cuLaunchKernelEx, 12000)                         \
  X(error_name, cuGetErrorName, 12000)                       \
  X(error_text, cuGetErrorString, 12000)

struct Driver {
#define MILLRACE_ENTRY(name, function, version) decltype(&::function) name = nullptr;
  MILLRACE_CUDA_ENTRY_POINTS(MILLRACE_ENTRY)
#undef MILLRACE_ENTRY

  // Opens the driver and starts it. Throws Error{kUnsupported}: no driver, a driver older than
  // these kernels' CUDA, or no GPU.
  static Driver load();

  std::string describe(CUresult result) const;  // "CUDA_ERROR_INVALID_VALUE (invalid argument)"

  // Throws DeviceLost for errors after which the context is broken, InternalError for all others.
  void check(CUresult result, const char* call) const;
};

}  // namespace millrace::cuda

// MILLRACE_CUDA(driver, stream_synchronize(stream)): the call, checked.
#define MILLRACE_CUDA(driver, call) (driver).check((driver).call, #call)
