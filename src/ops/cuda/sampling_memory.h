// SamplingMemory: what travels between host and GPU with each sampling: parameters there, logprobs
// back, and what the kernels keep in between.
#pragma once

#include <array>
#include <optional>

#include "kernels/cuda/sampling_args.h"
#include "ops/cuda/gpu_context.h"
#include "ops/sampling_ops.h"

namespace millrace::cuda {

// Rows on the device, those that ask for the most likely token alone behind all others.
struct DeviceSampling {
  SampleArgs args;  // of the first rows; results and logits are the caller's to fill
  int64_t num_general = 0;
  int64_t num_greedy = 0;

  const SampleRow* greedy_rows() const { return args.rows + num_general; }
};

// Memory grows with the largest sampling so far, which waits for the GPU; else nothing is allocated
// and nobody waits, but for parameters that were sent two samplings ago.
class SamplingMemory {
 public:
  explicit SamplingMemory(const GpuContext& context);

  // Sends the parameters, in one copy.
  DeviceSampling send(const SamplingBatch& batch);

  GreedyPart* greedy_parts(int64_t rows, int64_t parts);
  unsigned* greedy_arrivals(int64_t rows);  // zero between launches

  // Room on the device for results of so many bytes.
  std::byte* results(int64_t bytes);

  void end();   // of a sampling: everything is enqueued
  void wait();  // for the last one; none: at once

 private:
  struct Half {
    Buffer host;  // pinned
    std::optional<Event> done;
  };

  // The parts of the block that is sent, in 32-bit numbers.
  struct Layout {
    int64_t rows, masks, bias_tokens, biases, counted_tokens, counts;
    int64_t changed;  // is not sent
    int64_t end;
    explicit Layout(const SamplingBatch& batch);
  };

  void grow(Buffer& buffer, int64_t bytes);

  const GpuContext& context_;
  std::array<Half, 2> halves_;
  uint64_t num_begun_ = 0;
  Buffer parameters_;
  Buffer parts_;
  Buffer arrivals_;
  Buffer results_;
};

}  // namespace millrace::cuda
