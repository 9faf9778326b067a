// One block of 32-bit numbers per sampling, copied as a whole.
#include "ops/cuda/sampling_memory.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace millrace::cuda {

namespace {

constexpr int64_t kNumberBytes = 4;
constexpr int64_t kNumbersPerRow = sizeof(SampleRow) / kNumberBytes;
constexpr int64_t kMinBytes = 4096;
constexpr float kGreedyTemperature = 1e-5f;

template <typename T>
int64_t count_of(const std::vector<T>& values) {
  return static_cast<int64_t>(values.size());
}

bool asks_for_the_most_likely_alone(const SamplingBatch& batch, size_t i) {
  return batch.temperatures[i] < kGreedyTemperature && batch.num_logprobs[i] < 0 &&
         batch.given_tokens[i] < 0 && batch.mask_begins[i] < 0 &&
         batch.cu_biases[i] == batch.cu_biases[i + 1] &&
         batch.cu_counts[i] == batch.cu_counts[i + 1];
}

SampleRow row_of(const SamplingBatch& batch, size_t i) {
  return {.logits_row = batch.logits_rows[i],
          .out = static_cast<int>(i),
          .temperature = batch.temperatures[i],
          .top_p = batch.top_ps[i],
          .min_p = batch.min_ps[i],
          .repetition_penalty = batch.repetition_penalties[i],
          .presence_penalty = batch.presence_penalties[i],
          .frequency_penalty = batch.frequency_penalties[i],
          .top_k = batch.top_ks[i],
          .num_top = batch.num_logprobs[i],
          .given_token = batch.given_tokens[i],
          .mask_begin = batch.mask_begins[i],
          .bias_begin = batch.cu_biases[i],
          .bias_end = batch.cu_biases[i + 1],
          .count_begin = batch.cu_counts[i],
          .count_end = batch.cu_counts[i + 1],
          .seed = batch.seeds[i],
          .position = batch.positions[i]};
}

}  // namespace

SamplingMemory::Layout::Layout(const SamplingBatch& batch) {
  rows = 0;
  masks = rows + batch.num_rows() * kNumbersPerRow;
  bias_tokens = masks + count_of(batch.masks);
  biases = bias_tokens + count_of(batch.bias_tokens);
  counted_tokens = biases + count_of(batch.biases);
  counts = counted_tokens + count_of(batch.counted_tokens);
  changed = counts + count_of(batch.counts);
  end = changed + count_of(batch.biases) + count_of(batch.counts);
}

SamplingMemory::SamplingMemory(const GpuContext& context) : context_(context) {
  for (Half& half : halves_) half.done.emplace(context_);
}

void SamplingMemory::grow(Buffer& buffer, int64_t bytes) {
  if (buffer.bytes() >= bytes) return;
  MILLRACE_CUDA(context_.driver(), stream_synchronize(context_.stream()));
  const auto rounded = std::bit_ceil(static_cast<uint64_t>(std::max(bytes, kMinBytes)));
  buffer = {};
  buffer = context_.allocate(static_cast<int64_t>(rounded));
}

DeviceSampling SamplingMemory::send(const SamplingBatch& batch) {
  const Layout layout(batch);
  Half& half = halves_[num_begun_ % halves_.size()];
  if (num_begun_ >= halves_.size()) half.done->wait();
  const int64_t sent_bytes = layout.changed * kNumberBytes;
  if (half.host.bytes() < sent_bytes) {
    half.host = {};
    half.host = context_.allocate_pinned(static_cast<int64_t>(
        std::bit_ceil(static_cast<uint64_t>(std::max(sent_bytes, kMinBytes)))));
  }
  grow(parameters_, layout.end * kNumberBytes);

  auto* host = static_cast<int32_t*>(half.host.data());
  DeviceSampling sampling;
  auto* rows = reinterpret_cast<SampleRow*>(host + layout.rows);
  auto num_rows = static_cast<size_t>(batch.num_rows());
  for (const bool greedy : {false, true}) {
    int64_t& count = greedy ? sampling.num_greedy : sampling.num_general;
    for (size_t i = 0; i < num_rows; ++i) {
      if (asks_for_the_most_likely_alone(batch, i) != greedy) continue;
      *rows++ = row_of(batch, i);
      ++count;
    }
  }
  const auto put = [&](int64_t at, const auto& values) {
    if (!values.empty())
      std::memcpy(host + at, values.data(), values.size() * sizeof(values.front()));
  };
  put(layout.masks, batch.masks);
  put(layout.bias_tokens, batch.bias_tokens);
  put(layout.biases, batch.biases);
  put(layout.counted_tokens, batch.counted_tokens);
  put(layout.counts, batch.counts);
  MILLRACE_CUDA(context_.driver(),
                copy_to_device(address_of(parameters_.data()), host,
                               static_cast<size_t>(sent_bytes), context_.stream()));

  auto* device = static_cast<int32_t*>(parameters_.data());
  sampling.args = {.rows = reinterpret_cast<const SampleRow*>(device + layout.rows),
                   .masks = reinterpret_cast<const unsigned*>(device + layout.masks),
                   .bias_tokens = device + layout.bias_tokens,
                   .biases = reinterpret_cast<const float*>(device + layout.biases),
                   .counted_tokens = device + layout.counted_tokens,
                   .counts = device + layout.counts,
                   .changed = reinterpret_cast<float*>(device + layout.changed)};
  return sampling;
}

GreedyPart* SamplingMemory::greedy_parts(int64_t rows, int64_t parts) {
  grow(parts_, rows * parts * static_cast<int64_t>(sizeof(GreedyPart)));
  return static_cast<GreedyPart*>(parts_.data());
}

unsigned* SamplingMemory::greedy_arrivals(int64_t rows) {
  const int64_t before = arrivals_.bytes();
  grow(arrivals_, rows * kNumberBytes);
  if (arrivals_.bytes() != before) {
    MILLRACE_CUDA(context_.driver(),
                  set_memory(address_of(arrivals_.data()), 0,
                             static_cast<size_t>(arrivals_.bytes()), context_.stream()));
  }
  return static_cast<unsigned*>(arrivals_.data());
}

std::byte* SamplingMemory::results(int64_t bytes) {
  grow(results_, bytes);
  return static_cast<std::byte*>(results_.data());
}

void SamplingMemory::end() {
  halves_[num_begun_++ % halves_.size()].done->record(context_.stream());
}

void SamplingMemory::wait() {
  if (num_begun_ > 0) halves_[(num_begun_ - 1) % halves_.size()].done->wait();
}

}  // namespace millrace::cuda
