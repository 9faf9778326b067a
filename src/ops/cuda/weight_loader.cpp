// Copying in slots, converting where types differ.
#include "ops/cuda/weight_loader.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/kernel_args.h"

namespace millrace::cuda {

WeightLoader::WeightLoader(const GpuContext& context, const KernelSet& kernels, ThreadPool& pool)
    : context_(context), kernels_(kernels), pool_(pool) {
  context_.make_current();
  MILLRACE_CUDA(context_.driver(), stream_create(&stream_, CU_STREAM_NON_BLOCKING));
  for (Slot& slot : slots_) {
    slot.host = context_.allocate_pinned(kSlotBytes);
    slot.taken = std::make_unique<Event>(context_);
    slot.taken->record(stream_);
  }
}

WeightLoader::~WeightLoader() {
  context_.driver().stream_synchronize(stream_);
  context_.driver().stream_destroy(stream_);
}

void WeightLoader::load(const Tensor& host, const Tensor& out) {
  constexpr int64_t kPiece = 1024 * 1024;  // bytes that one thread copies at a time
  CHECK(host.shape == out.shape && out.is_contiguous(), "{} to {}", to_string(host),
        to_string(out));
  const auto bytes = host.as<const std::byte>();
  const int64_t element = size_of(host.dtype);
  for (int64_t at = 0; at < host.bytes(); at += kSlotBytes) {
    const int64_t count = std::min(kSlotBytes, host.bytes() - at);
    Slot& slot = slots_[next_++ % kSlots];
    slot.taken->wait();
    pool_.parallel_for((count + kPiece - 1) / kPiece, [&](int64_t piece) {
      const int64_t begin = piece * kPiece;
      std::memcpy(static_cast<std::byte*>(slot.host.data()) + begin, bytes.data() + at + begin,
                  static_cast<size_t>(std::min(kPiece, count - begin)));
    });
    void* target = static_cast<std::byte*>(out.data) + at / element * size_of(out.dtype);
    const bool converts = host.dtype != out.dtype;
    if (converts && !slot.device.data()) slot.device = context_.allocate(kSlotBytes);
    MILLRACE_CUDA(context_.driver(),
                  copy_to_device(address_of(converts ? slot.device.data() : target),
                                 slot.host.data(), static_cast<size_t>(count), stream_));
    slot.taken->record(stream_);
    if (!converts) continue;
    const int64_t values = count / element;
    const ConvertArgs arguments = {.x = {.data = slot.device.data(), .stride = 0},
                                   .out = {.data = target, .stride = 0},
                                   .rows = 1,
                                   .width = static_cast<int>(values)};
    kernels_.launch(convert_kernel(host.dtype, out.dtype, 1, values), arguments, stream_);
  }
}

void WeightLoader::finish() {
  MILLRACE_CUDA(context_.driver(), stream_synchronize(stream_));
}

}  // namespace millrace::cuda
