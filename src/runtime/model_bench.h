// Rates of a loaded decoder without a server: steps of stated sizes, beside what its memory gives.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/loaded_model.h"

namespace millrace {

struct ModelBenchOptions {
  std::vector<int64_t> prompts{128, 512};            // tokens of a prompt that is alone
  std::vector<int64_t> batch_sizes{1, 2, 4, 8, 16};  // sequences that decode together
  std::vector<int64_t> contexts{64, 1024};           // keys of each of them
  int num_steps = 15;                                // measured, of each size
};

// A prompt from nothing to its first token.
struct PrefillRate {
  int64_t num_tokens = 0;
  double ttft = 0;  // s, the median
  double tokens_per_s() const { return static_cast<double>(num_tokens) / ttft; }
};

// One token for each of some sequences, again and again.
struct DecodeRate {
  int64_t batch_size = 0;
  int64_t context = 0;
  double step = 0;         // s, the median; where steps overlap, the mean
  int64_t bytes = 0;       // of weights and KV that a step has to read
  double memory_rate = 0;  // bytes/s, measured before and after
  double tokens_per_s() const { return static_cast<double>(batch_size) / step; }
  double bytes_per_s() const { return static_cast<double>(bytes) / step; }
  double memory_share() const { return bytes_per_s() / memory_rate; }
};

struct ModelBenchReport {
  std::string architecture;
  std::string device;  // "cpu, 2 threads, avx512_bf16", "cuda:0, NVIDIA H100 80GB HBM3"
  std::string dtype;   // of products
  int64_t num_parameters = 0;
  int64_t weight_bytes = 0;    // that each step reads
  int64_t kv_token_bytes = 0;  // of one position, in all layers
  bool random_weights = false;
  int steps_in_flight = 1;
  std::vector<PrefillRate> prefills;
  std::vector<DecodeRate> decodes;
  std::vector<std::string> skipped;  // what does not fit, and why
};

// Limits under which a model must be opened for those sizes.
StepLimitOverrides limits_of(const ModelBenchOptions& options);

// Uses up the model's runner. `progress` hears of each size before it is measured. Throws
// Error{kUnsupported} for a model that generates no text.
ModelBenchReport run_model_bench(LoadedModel& model, const ModelBenchOptions& options,
                                 const std::function<void(const std::string&)>& progress);

std::string render(const ModelBenchReport& report);   // lines for people
std::string to_json(const ModelBenchReport& report);  // indented

}  // namespace millrace
