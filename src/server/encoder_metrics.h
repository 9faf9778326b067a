// EncoderMetrics: what /metrics shows of an encoder: millrace_*, and the names of TEI.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/engine_core.h"
#include "server/request_error.h"

namespace millrace {

// What a route wants of the model; te_embed_* and te_predict_* count them apart.
enum class ModelTask : uint8_t { kEmbed, kPredict };

// One request that was answered with rows of the model.
struct InferenceRecord {
  ModelTask task = ModelTask::kEmbed;
  int64_t num_inputs = 0;
  int64_t num_tokens = 0;
  Clock::duration tokenization{};
  Clock::duration total{};  // received to answer made
  RequestTimings timings;
};

// Counters and histograms; any thread.
class EncoderMetrics {
 public:
  explicit EncoderMetrics(int64_t max_input_tokens);
  ~EncoderMetrics();
  EncoderMetrics(const EncoderMetrics&) = delete;
  EncoderMetrics& operator=(const EncoderMetrics&) = delete;

  // A request for the model: begun, each of its inputs, and how it ended.
  void observe_request(bool batch);
  void observe_input(ModelTask task, int64_t num_tokens, bool truncated);
  void observe_success(const InferenceRecord& record);
  void observe_failure(Refusal refusal);

  std::string scrape(const EngineStats& now);  // the text of a scrape

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace millrace
