// What the host hands to the sampler's kernels. Read by NVRTC too: see kernel_args.h.
#pragma once

#include "kernel_args.h"

namespace millrace::cuda {

// One token to draw, as SamplingRow has it. Lists are parts of those of all rows.
struct SampleRow {
  int logits_row = 0;
  int out = 0;  // the row of the results
  float temperature = 1;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  int top_k = 0;
  int num_top = -1;
  int given_token = -1;
  int mask_begin = -1;
  int bias_begin = 0;
  int bias_end = 0;
  int count_begin = 0;
  int count_end = 0;
  unsigned long long seed = 0;
  unsigned long long position = 0;
};

// Where results go: arrays by SampleRow::out.
struct SampleResults {
  int* tokens = nullptr;
  float* logprobs = nullptr;
  int* ranks = nullptr;
  int* top_tokens = nullptr;  // [*, top_stride]
  float* top_logprobs = nullptr;
  int top_stride = 0;
};

struct SampleArgs {
  Rows logits;                      // [*, vocab] float
  const SampleRow* rows = nullptr;  // [gridDim.x]
  const unsigned* masks = nullptr;
  const int* bias_tokens = nullptr;
  const float* biases = nullptr;
  const int* counted_tokens = nullptr;
  const int* counts = nullptr;
  float* changed = nullptr;  // [biases and counts]: room for logits that these change
  SampleResults results;
  int vocab = 0;
  int list_capacity = 0;  // candidates that fit into shared memory: a multiple of 256
};

// The greatest of a part of a row.
struct GreedyPart {
  float value = 0;
  int token = 0;
};

struct GreedyArgs {
  Rows logits;
  const SampleRow* rows = nullptr;  // [gridDim.y]: their logits_row and out alone
  GreedyPart* parts = nullptr;      // [gridDim.y, gridDim.x]
  unsigned* arrivals = nullptr;     // [gridDim.y]: zero between launches
  int* tokens = nullptr;
  int vocab = 0;
};

}  // namespace millrace::cuda
