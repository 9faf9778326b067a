// GenerationMetrics: what /metrics shows of a generator: millrace_*, and the names of vLLM.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "runtime/generation_core.h"
#include "server/request_error.h"

namespace millrace {

// When things happened to one prompt and its choices.
struct GenerationTimes {
  Clock::time_point received_at{};
  Clock::time_point submitted_at{};
  std::optional<Clock::time_point> scheduled_at;  // first; absent: never
  std::optional<Clock::time_point> first_token_at;
  Clock::time_point last_token_at{};
};

// What stays the same of an engine.
struct CacheGeometry {
  int64_t block_size = 0;  // tokens
  int64_t num_blocks = 0;  // of all groups
};

// Counters and histograms; any thread.
class GenerationMetrics {
 public:
  GenerationMetrics(const std::string& model, int64_t max_model_len, const CacheGeometry& cache);
  ~GenerationMetrics();
  GenerationMetrics(const GenerationMetrics&) = delete;
  GenerationMetrics& operator=(const GenerationMetrics&) = delete;

  void observe_tokenization(Clock::duration duration);
  void observe_first_token(Clock::duration since_received, int64_t num_prompt_tokens);
  void observe_next_token(Clock::duration since_the_one_before);
  // A choice's end: "stop", "length" or "abort".
  void observe_choice(std::string_view finish_reason, int64_t num_tokens);
  // All choices of a prompt ended.
  void observe_prompt(const GenerationTimes& times, int64_t num_prompt_tokens, int64_t num_choices,
                      int64_t max_tokens);
  void observe_failure(Refusal refusal);

  std::string scrape(const GenerationStats& now);  // the text of a scrape

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace millrace
