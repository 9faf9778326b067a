// WeightLoader: from mapped files to device memory, through a ring of pinned buffers.
#pragma once

#include <array>
#include <memory>

#include "base/thread_pool.h"
#include "ops/cuda/gpu_context.h"
#include "ops/cuda/kernel_set.h"

namespace millrace::cuda {

// On a stream of its own: while the GPU takes one slot of the ring, some threads fill the next.
// Values change their type on the device. The ring is small: to pin memory takes longer than to
// copy it, and what the caches of the CPU hold need not be read from memory again.
class WeightLoader {
 public:
  WeightLoader(const GpuContext& context, const KernelSet& kernels);
  ~WeightLoader();
  WeightLoader(const WeightLoader&) = delete;
  WeightLoader& operator=(const WeightLoader&) = delete;

  // Enqueues the values of `host` (any float dtype, contiguous) for `out`, of the same shape. The
  // host's memory is not needed after the call.
  void load(const Tensor& host, const Tensor& out);

  // Waits until all of it is there.
  void finish();
  bool is_finished() const { return finished_; }

 private:
  static constexpr int64_t kSlotBytes = 8 * 1024 * 1024;
  static constexpr int kSlots = 3;
  static constexpr int64_t kStripe = 64 * 1024;
  static constexpr int kMaxThreads = 12;  // more do not copy faster

  struct Slot {
    Buffer host;                   // pinned
    Buffer device;                 // where values wait for their conversion
    std::unique_ptr<Event> taken;  // the GPU has read `host`
  };

  // Tensors that follow each other in the slot and on the device alike: one copy.
  struct Run {
    std::byte* host = nullptr;
    std::byte* device = nullptr;
    int64_t bytes = 0;
  };

  // Copies `from` to the bytes begin .. end of a slot.
  void fill(std::byte* slot, int64_t begin, int64_t end, const std::byte* from);
  void next_slot();
  void send_run();

  const GpuContext& context_;
  const KernelSet& kernels_;
  ThreadPool pool_;
  CUstream stream_ = nullptr;
  std::array<Slot, kSlots> slots_;
  size_t slot_ = 0;   // that is being filled
  int64_t used_ = 0;  // bytes of it
  Run run_;           // not sent yet
  bool finished_ = true;
};

}  // namespace millrace::cuda
