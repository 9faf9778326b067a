// A row of logits as a request wants it: mask, biases and penalties applied while it is read, so
// that several requests may share the row and nothing is written back.
//
// Tokens that biases and penalties change are marked in a bitmap in shared memory; their new values
// lie in a short list in the order of the tokens.
#pragma once

#include "sampling_args.h"
#include "sampling_block.cuh"

namespace millrace::cuda {

// The block's dynamic shared memory, by the vocabulary's chunks.
struct SampleMemory {
  static __device__ unsigned* words() {
    extern __shared__ uint4 memory[];
    return reinterpret_cast<unsigned*>(memory);
  }
  static __device__ int chunks(int vocab) { return (vocab + kChunk - 1) / kChunk; }
  static __device__ int bitmap_words(int vocab) { return chunks(vocab) * (kChunk / 32); }

  static __device__ unsigned* changed() { return words(); }                               // bits
  static __device__ unsigned* marks(int vocab) { return words() + bitmap_words(vocab); }  // bits
  static __device__ int* changed_before(int vocab) {  // changed tokens before each chunk
    return reinterpret_cast<int*>(words() + 2 * bitmap_words(vocab));
  }
  // [list_capacity], on 16 bytes.
  static __device__ float* list_weights(int vocab) {
    return reinterpret_cast<float*>(words() + 2 * bitmap_words(vocab) +
                                    (chunks(vocab) + 3) / 4 * 4);
  }
  static __device__ int* list_tokens(int vocab, int list_capacity) {
    return reinterpret_cast<int*>(list_weights(vocab) + list_capacity);
  }
};

struct LogitsRow {
  const float* logits = nullptr;
  int vocab = 0;
  const unsigned* mask = nullptr;         // null: all tokens may come
  const float* changed_values = nullptr;  // in the order of the tokens; null: no token is changed

  // The same logits as they came.
  __device__ LogitsRow plain() const { return {.logits = logits, .vocab = vocab}; }

  __device__ int size() const { return vocab; }

  static __device__ unsigned changed_word(int token) { return SampleMemory::changed()[token / 32]; }

  // Eight tokens; what lies behind the row is -infinity.
  __device__ void load(int first, float (&x)[kGroup]) const {
    load_plain(first, x);
    adjust(first, x);
  }

  __device__ void load_plain(int first, float (&x)[kGroup]) const {
    if (first + kGroup <= vocab && is_aligned(logits)) {
      float low[4], high[4];
      load_vector(logits + first, low);
      load_vector(logits + first + 4, high);
#pragma unroll
      for (int e = 0; e < 4; ++e) x[e] = low[e], x[e + 4] = high[e];
    } else {
#pragma unroll
      for (int e = 0; e < kGroup; ++e)
        x[e] = first + e < vocab ? logits[first + e] : negative_infinity();
    }
  }

  __device__ void adjust(int first, float (&x)[kGroup]) const {
    if (first >= vocab) return;
    if (mask != nullptr) {
      const unsigned bits = mask[first / 32] >> (first % 32);
#pragma unroll
      for (int e = 0; e < kGroup; ++e) x[e] = (bits >> e & 1) != 0 ? x[e] : negative_infinity();
    }
    if (changed_values == nullptr) return;
    const unsigned bits = changed_word(first) >> (first % 32) & 0xffu;
    if (bits == 0) return;
    const float* value = changed_values + place(first);
#pragma unroll
    for (int e = 0; e < kGroup; ++e)
      if ((bits >> e & 1) != 0) x[e] = *value++;
  }

  // Of one token.
  __device__ float at(int token) const {
    if (changed_values != nullptr && (changed_word(token) >> (token % 32) & 1) != 0)
      return changed_values[place(token)];
    return masked(token);
  }
  __device__ float masked(int token) const {
    const bool may_come = mask == nullptr || (mask[token / 32] >> (token % 32) & 1) != 0;
    return may_come ? logits[token] : negative_infinity();
  }

  // Where the value of a changed token lies.
  __device__ int place(int token) const {
    int before = SampleMemory::changed_before(vocab)[token / kChunk];
#pragma unroll 1
    for (int t = token / kChunk * kChunk; t < token / 32 * 32; t += 32)
      before += __popc(changed_word(t));
    return before + __popc(changed_word(token) & ((1u << (token % 32)) - 1));
  }
};

// Marks the tokens of a list.
__device__ inline void mark(unsigned* bits, const int* tokens, int begin, int end) {
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kSampleThreads)
    atomicOr(&bits[tokens[i] / 32], 1u << (tokens[i] % 32));
}

// Fills changed_before.
__device__ inline void count_changed(const unsigned* bits, int chunks, int* before) {
  for (int chunk = threadIdx.x; chunk < chunks; chunk += kSampleThreads) {
    int count = 0;
    for (int word = 0; word < kChunk / 32; ++word)
      count += __popc(bits[chunk * (kChunk / 32) + word]);
    before[chunk] = count;
  }
  __syncthreads();
  if (warp_index() == 0) {
    const int each = (chunks + 31) / 32;
    const int begin = min(lane_index() * each, chunks);
    const int end = min(begin + each, chunks);
    int count = 0;
    for (int chunk = begin; chunk < end; ++chunk) count += before[chunk];
    int sum = warp_scan(count) - count;
    for (int chunk = begin; chunk < end; ++chunk) {
      const int own = before[chunk];
      before[chunk] = sum;
      sum += own;
    }
  }
  __syncthreads();
}

// Adds up the biases of each token in the order of the list, which may name a token more than once:
// the first of them has the thread that works.
__device__ inline void add_biases(const SampleArgs& args, const SampleRow& row,
                                  const LogitsRow& logits, float* values) {
  for (int i = row.bias_begin + static_cast<int>(threadIdx.x); i < row.bias_end;
       i += kSampleThreads) {
    const int token = args.bias_tokens[i];
    bool is_first = true;
#pragma unroll 4
    for (int j = row.bias_begin; j < i; ++j) is_first = is_first && args.bias_tokens[j] != token;
    if (!is_first) continue;
    float& value = values[logits.place(token)];
    value = __fadd_rn(value, args.biases[i]);
#pragma unroll 4
    for (int j = i + 1; j < row.bias_end; ++j)
      if (args.bias_tokens[j] == token) value = __fadd_rn(value, args.biases[j]);
  }
}

__device__ inline float penalized(const SampleRow& row, float logit, int count) {
  logit = logit > 0 ? __fdiv_rn(logit, row.repetition_penalty)
                    : __fmul_rn(logit, row.repetition_penalty);
  logit = __fsub_rn(logit, __fmul_rn(row.frequency_penalty, static_cast<float>(count)));
  return count > 0 ? __fsub_rn(logit, row.presence_penalty) : logit;
}

__device__ inline LogitsRow adjusted_row(const SampleArgs& args, const SampleRow& row) {
  const auto* first = static_cast<const float*>(args.logits.data);
  LogitsRow logits{.logits = first + static_cast<long long>(row.logits_row) * args.logits.stride,
                   .vocab = args.vocab};
  if (row.mask_begin >= 0) logits.mask = args.masks + row.mask_begin;
  if (row.bias_begin == row.bias_end && row.count_begin == row.count_end) return logits;

  unsigned* bits = SampleMemory::changed();
#pragma unroll 1
  for (int w = threadIdx.x; w < SampleMemory::bitmap_words(args.vocab); w += kSampleThreads)
    bits[w] = 0;
  __syncthreads();
  mark(bits, args.bias_tokens, row.bias_begin, row.bias_end);
  mark(bits, args.counted_tokens, row.count_begin, row.count_end);
  __syncthreads();
  count_changed(bits, SampleMemory::chunks(args.vocab), SampleMemory::changed_before(args.vocab));

  float* values = args.changed + row.bias_begin + row.count_begin;
  logits.changed_values = values;
  const auto start_with = [&](const int* tokens, int begin, int end) {
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kSampleThreads)
      values[logits.place(tokens[i])] = logits.masked(tokens[i]);
  };
  start_with(args.bias_tokens, row.bias_begin, row.bias_end);
  start_with(args.counted_tokens, row.count_begin, row.count_end);
  __syncthreads();
  add_biases(args, row, logits, values);
  __syncthreads();
  for (int i = row.count_begin + static_cast<int>(threadIdx.x); i < row.count_end;
       i += kSampleThreads) {
    float& value = values[logits.place(args.counted_tokens[i])];
    value = penalized(row, value, args.counts[i]);
  }
  __syncthreads();
  return logits;
}

}  // namespace millrace::cuda
