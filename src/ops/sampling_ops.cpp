// Packing of rows to sample; shape checks and outputs.
#include "ops/sampling_ops.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "tensor/shape_matcher.h"

namespace millrace {

int64_t SamplingBatch::max_logprobs() const {
  int32_t most = 0;
  for (const int32_t count : num_logprobs) most = std::max(most, count);
  return most;
}

void SamplingBatch::append(const SamplingRow& row) {
  CHECK(row.bias_tokens.size() == row.biases.size());
  CHECK(row.counted_tokens.size() == row.counts.size());
  logits_rows.push_back(static_cast<int32_t>(row.logits_row));
  temperatures.push_back(row.temperature);
  top_ks.push_back(row.top_k);
  top_ps.push_back(row.top_p);
  min_ps.push_back(row.min_p);
  repetition_penalties.push_back(row.repetition_penalty);
  presence_penalties.push_back(row.presence_penalty);
  frequency_penalties.push_back(row.frequency_penalty);
  seeds.push_back(row.seed);
  positions.push_back(row.position);
  mask_begins.push_back(row.mask.empty() ? -1 : static_cast<int32_t>(masks.size()));
  masks.insert(masks.end(), row.mask.begin(), row.mask.end());
  num_logprobs.push_back(row.num_logprobs);
  given_tokens.push_back(row.given_token);
  bias_tokens.insert(bias_tokens.end(), row.bias_tokens.begin(), row.bias_tokens.end());
  biases.insert(biases.end(), row.biases.begin(), row.biases.end());
  cu_biases.push_back(static_cast<int32_t>(biases.size()));
  counted_tokens.insert(counted_tokens.end(), row.counted_tokens.begin(), row.counted_tokens.end());
  counts.insert(counts.end(), row.counts.begin(), row.counts.end());
  cu_counts.push_back(static_cast<int32_t>(counts.size()));
}

namespace {

void check_tokens(const std::vector<int32_t>& tokens, int64_t vocab) {
  for (const int32_t token : tokens)
    CHECK(token >= 0 && token < vocab, "token {} of {}", token, vocab);
}

}  // namespace

SampledTokens SamplingOps::sample(const Tensor& logits, const SamplingBatch& batch) {
  ShapeMatcher match("sample", device());
  match.match("logits", logits, {"rows", "vocab"});
  CHECK(logits.dtype == DType::kF32, "sample: {}", to_string(logits));
  for (const int32_t row : batch.logits_rows) CHECK(row >= 0 && row < logits.rows());
  check_tokens(batch.bias_tokens, logits.columns());
  check_tokens(batch.counted_tokens, logits.columns());
  for (const int32_t token : batch.given_tokens) CHECK(token >= -1 && token < logits.columns());
  const auto mask_words = (logits.columns() + 31) / 32;
  for (const int32_t begin : batch.mask_begins)
    CHECK(begin < 0 || begin + mask_words <= static_cast<int64_t>(batch.masks.size()));
  const int64_t rows = batch.num_rows();
  const int64_t top = std::max<int64_t>(1, batch.max_logprobs());
  const int64_t bytes = rows * (3 + 2 * top) * size_of(DType::kF32) + 5 * Arena::kAlignment;
  Buffer& results = results_[turn_++ % results_.size()];
  if (results.bytes() < bytes)
    results = allocate_results(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes))));
  Arena memory(results.data(), INT64_MAX, Device{});
  const SampledTokens out{.tokens = memory.allocate(DType::kI32, {rows, 1}),
                          .logprobs = memory.allocate(DType::kF32, {rows, 1}),
                          .ranks = memory.allocate(DType::kI32, {rows, 1}),
                          .top_tokens = memory.allocate(DType::kI32, {rows, top}),
                          .top_logprobs = memory.allocate(DType::kF32, {rows, top})};
  run_sample(logits, batch, out);
  num_sampled_ = rows;
  return out;
}

}  // namespace millrace
