// Copying in slots, converting where types differ.
#include "ops/cuda/weight_loader.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "kernels/cuda/kernel_args.h"
#include "tensor/arena.h"

namespace millrace::cuda {

WeightLoader::WeightLoader(const GpuContext& context, const KernelSet& kernels)
    : context_(context),
      kernels_(kernels),
      pool_(std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads)) {
  context_.make_current();
  MILLRACE_CUDA(context_.driver(), stream_create(&stream_, CU_STREAM_NON_BLOCKING));
  for (Slot& slot : slots_) {
    slot.host = context_.allocate_pinned(kSlotBytes);
    slot.taken = std::make_unique<Event>(context_);
  }
}

WeightLoader::~WeightLoader() {
  context_.driver().stream_synchronize(stream_);
  context_.driver().stream_destroy(stream_);
}

// Every stripe of a slot is always written by the same thread, in whose cache it stays.
void WeightLoader::fill(std::byte* slot, int64_t begin, int64_t end, const std::byte* from) {
  const auto copy = [&](int64_t first, int64_t last) {
    std::memcpy(slot + first, from + (first - begin), static_cast<size_t>(last - first));
  };
  if (end - begin <= kStripe) return copy(begin, end);
  pool_.run([&](int thread) {
    for (int64_t stripe = begin / kStripe; stripe * kStripe < end; ++stripe) {
      if (stripe % pool_.num_threads() == thread)
        copy(std::max(begin, stripe * kStripe), std::min(end, (stripe + 1) * kStripe));
    }
  });
}

void WeightLoader::send_run() {
  if (run_.bytes == 0) return;
  MILLRACE_CUDA(context_.driver(), copy_to_device(address_of(run_.device), run_.host,
                                                  static_cast<size_t>(run_.bytes), stream_));
  run_.bytes = 0;
}

void WeightLoader::next_slot() {
  send_run();
  slots_[slot_].taken->record(stream_);
  slot_ = (slot_ + 1) % kSlots;
  used_ = 0;
  slots_[slot_].taken->wait();
}

void WeightLoader::load(const Tensor& host, const Tensor& out) {
  CHECK(host.shape == out.shape && out.is_contiguous(), "{} to {}", to_string(host),
        to_string(out));
  finished_ = false;
  const auto bytes = host.as<const std::byte>();
  const int64_t element = size_of(host.dtype);
  const bool converts = host.dtype != out.dtype;
  for (int64_t at = 0; at < host.bytes();) {
    if (used_ >= kSlotBytes) next_slot();
    Slot& slot = slots_[slot_];
    const int64_t count = std::min(kSlotBytes - used_, host.bytes() - at);
    std::byte* staged = static_cast<std::byte*>(slot.host.data()) + used_;
    fill(static_cast<std::byte*>(slot.host.data()), used_, used_ + count, bytes.data() + at);
    std::byte* target = static_cast<std::byte*>(out.data) + at / element * size_of(out.dtype);
    if (converts && !slot.device.data()) slot.device = context_.allocate(kSlotBytes);
    std::byte* arrives = converts ? static_cast<std::byte*>(slot.device.data()) + used_ : target;
    const bool follows = run_.bytes > 0 && staged - run_.host == arrives - run_.device;
    if (!follows) {
      send_run();
      run_ = {.host = staged, .device = arrives};
    }
    run_.bytes = staged + count - run_.host;
    at += count;
    used_ += (count + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment;
    if (!converts) continue;
    send_run();
    const int64_t values = count / element;
    kernels_.launch(convert_kernel(host.dtype, out.dtype, 1, values),
                    ConvertArgs{.x = {.data = arrives, .stride = 0},
                                .out = {.data = target, .stride = 0},
                                .rows = 1,
                                .width = static_cast<int>(values)},
                    stream_);
  }
}

void WeightLoader::finish() {
  send_run();
  MILLRACE_CUDA(context_.driver(), stream_synchronize(stream_));
  finished_ = true;
}

}  // namespace millrace::cuda
