// Sampling on a GPU: parameters there, tokens kept for the next step, results back.
#include <algorithm>

#include "kernels/cuda/sampling_choice.h"
#include "ops/cuda/cuda_ops.h"

namespace millrace::cuda {

Buffer CudaOps::allocate_results(int64_t bytes) {
  context_->make_current();
  Buffer& memory = result_memory_.emplace_back(context_->allocate_pinned(bytes));
  return {memory.data(), bytes, Device{}, [](void*) {}};  // it would outlive the context
}

// Results lie on the device as they lie on the host, one array behind the other, but for the
// tokens, which have a place of their own.
void CudaOps::run_sample(const Tensor& logits, const SamplingBatch& batch,
                         const SampledTokens& out) {
  const int64_t num_rows = batch.num_rows();
  if (num_rows == 0) return;
  CHECK(num_rows <= max_sampled_rows_, "sample: {} rows of at most {}", num_rows,
        max_sampled_rows_);
  context_->make_current();
  const int64_t vocab = logits.columns();
  DeviceSampling sampling = sampling_.send(batch);
  int32_t* tokens = steps_.sampled_tokens();
  const auto* first = static_cast<const std::byte*>(out.logprobs.data);
  const auto* end = static_cast<const std::byte*>(out.top_logprobs.data) + out.top_logprobs.bytes();
  std::byte* results = sampling_.results(end - first);
  const auto on_device = [&](const Tensor& host) {
    return results + (static_cast<const std::byte*>(host.data) - first);
  };

  SampleArgs& args = sampling.args;
  args.logits = {.data = logits.data, .stride = static_cast<int>(logits.row_stride)};
  args.results = {.tokens = tokens,
                  .logprobs = reinterpret_cast<float*>(on_device(out.logprobs)),
                  .ranks = reinterpret_cast<int*>(on_device(out.ranks)),
                  .top_tokens = reinterpret_cast<int*>(on_device(out.top_tokens)),
                  .top_logprobs = reinterpret_cast<float*>(on_device(out.top_logprobs)),
                  .top_stride = static_cast<int>(out.top_tokens.columns())};
  args.vocab = static_cast<int>(vocab);
  args.list_capacity = static_cast<int>(sample_list_capacity(vocab));
  launch(sample_kernel(sampling.num_general, vocab), args);
  if (sampling.num_greedy > 0) {
    const KernelLaunch greedy = greedy_kernel(sampling.num_greedy, vocab);
    launch(greedy, GreedyArgs{.logits = args.logits,
                              .rows = sampling.greedy_rows(),
                              .parts = sampling_.greedy_parts(sampling.num_greedy, greedy.grid_x),
                              .arrivals = sampling_.greedy_arrivals(sampling.num_greedy),
                              .tokens = tokens,
                              .vocab = static_cast<int>(vocab)});
  }

  const auto send_back = [&](const void* host, const void* device, int64_t bytes) {
    MILLRACE_CUDA(context_->driver(), copy_to_host(const_cast<void*>(host), address_of(device),
                                                   static_cast<size_t>(bytes), context_->stream()));
  };
  send_back(out.tokens.data, tokens, out.tokens.bytes());
  const bool tells_logprobs =
      std::ranges::any_of(batch.num_logprobs, [](int32_t count) { return count >= 0; });
  if (tells_logprobs) send_back(first, results, end - first);
  sampling_.end();
}

void CudaOps::wait_sampled() {
  context_->make_current();
  sampling_.wait();
}

}  // namespace millrace::cuda
