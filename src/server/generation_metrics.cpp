// The families of /metrics. Names of ours: base units, _total, _seconds, _ratio (Prometheus' naming
// guide); vllm:*: names, labels and buckets of vLLM's, so that dashboards and autoscalers go on.
#include "server/generation_metrics.h"

#include <algorithm>
#include <mutex>

#include "server/metrics_registry.h"

namespace millrace {

namespace {

using Buckets = MetricsRegistry::Buckets;

const Buckets kGenerationSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                    1,     2.5,    5,     10,   25,    50,   100, 250,  1000};
const Buckets kTokenSeconds = {0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02,
                               0.03,   0.05,  0.075, 0.1,   0.2,   0.5,    1,    5};
const Buckets kVllmFirstToken = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                 1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
const Buckets kVllmToken = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                            .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
const Buckets kVllmRequest = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                              30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const Buckets kChoices = {1, 2, 5, 10, 20};
const Buckets kStepTokens(kStepTokenBounds.begin(), kStepTokenBounds.end());

// 1, 2, 5, 10, 20, 50, ... up to `max`.
Buckets one_two_five(int64_t max) {
  Buckets buckets;
  for (int64_t power = 1; power <= max; power *= 10) {
    for (const int64_t factor : {1, 2, 5}) {
      if (power * factor <= max) buckets.push_back(static_cast<double>(power * factor));
    }
  }
  return buckets;
}

std::string_view failure_label(Refusal refusal) {
  switch (refusal) {
    case Refusal::kOverloaded: return "overloaded";
    case Refusal::kTimeout: return "timeout";
    case Refusal::kUnavailable: return "unavailable";
    case Refusal::kBackend:
    case Refusal::kInternal: return "inference";
    case Refusal::kNotFound: return "not_found";
    default: return "validation";
  }
}

// A histogram of ours, and vLLM's of the same.
struct Pair {
  prometheus::Histogram& ours;
  prometheus::Histogram& vllm;

  void observe(double value) {
    ours.Observe(value);
    vllm.Observe(value);
  }
  void observe(const std::vector<double>& counts, double sum) {
    ours.ObserveMultiple(counts, sum);
    vllm.ObserveMultiple(counts, sum);
  }
};

}  // namespace

struct GenerationMetrics::Families : MetricsRegistry {
  Families(const std::string& model, int64_t max_model_len, const CacheGeometry& cache)
      : labels{{"model_name", model}, {"engine", "0"}}, token_counts(one_two_five(max_model_len)) {
    prometheus::Labels geometry = labels;
    geometry["block_size"] = std::to_string(cache.block_size);
    geometry["num_gpu_blocks"] = std::to_string(cache.num_blocks);
    gauge("vllm:cache_config_info", "Information of the KV cache", geometry).Set(1);
  }

  Pair pair(const std::string& name, const std::string& vllm, const char* help,
            const Buckets& buckets, const Buckets& vllm_buckets) {
    return {histogram("millrace_" + name, help, buckets),
            histogram("vllm:" + vllm, help, vllm_buckets, labels)};
  }
  Pair seconds_of(const std::string& name, const std::string& vllm, const char* help) {
    return pair(name, vllm, help, kGenerationSeconds, kVllmRequest);
  }
  Pair tokens_of(const std::string& name, const char* help) {
    return pair(name, name, help, token_counts, token_counts);
  }

  prometheus::Labels labels;  // of vLLM's families
  Buckets token_counts;

  prometheus::Histogram& tokenization =
      histogram("millrace_tokenization_duration_seconds", "Template and tokenization of a request",
                kGenerationSeconds);
  Pair first_token = pair("time_to_first_token_seconds", "time_to_first_token_seconds",
                          "Request received to first token", kGenerationSeconds, kVllmFirstToken);
  Pair next_token = pair("inter_token_latency_seconds", "inter_token_latency_seconds",
                         "Between two tokens of a choice", kTokenSeconds, kVllmToken);
  Pair end_to_end = seconds_of("request_duration_seconds", "e2e_request_latency_seconds",
                               "Request received to last token");
  Pair queue = seconds_of("queue_duration_seconds", "request_queue_time_seconds",
                          "Submitted to first scheduled");
  Pair prefill = seconds_of("prefill_duration_seconds", "request_prefill_time_seconds",
                            "First scheduled to first token");
  Pair decode = seconds_of("decode_duration_seconds", "request_decode_time_seconds",
                           "First token to last token");
  Pair inference = seconds_of("inference_duration_seconds", "request_inference_time_seconds",
                              "First scheduled to last token");
  Pair prompt_length = tokens_of("request_prompt_tokens", "Tokens of a prompt");
  Pair output_length = tokens_of("request_generation_tokens", "Tokens of a choice");
  Pair max_tokens = tokens_of("request_params_max_tokens", "max_tokens of a prompt");
  Pair choices =
      pair("request_params_n", "request_params_n", "Choices of a prompt", kChoices, kChoices);

  prometheus::Counter& prompt_tokens =
      counter("millrace_prompt_tokens_total", "Tokens of prompts, cached ones included");
  prometheus::Counter& vllm_prompt_tokens =
      counter("vllm:prompt_tokens_total", "Tokens of prompts, cached ones included", labels);
  prometheus::Counter& generated_tokens =
      counter("millrace_generation_tokens_total", "Tokens generated");
  prometheus::Counter& vllm_generated_tokens =
      counter("vllm:generation_tokens_total", "Tokens generated", labels);
  prometheus::Family<prometheus::Counter>& finished =
      counters("millrace_finished_choices_total", "Choices, by what ended them");
  prometheus::Family<prometheus::Counter>& vllm_finished =
      counters("vllm:request_success_total", "Choices, by what ended them");
  prometheus::Family<prometheus::Counter>& failures =
      counters("millrace_request_failures_total", "Requests that were refused, or failed");

  prometheus::Counter& steps = counter("millrace_steps_total", "Forward passes");
  Pair step_tokens = pair("step_tokens", "iteration_tokens_total", "Tokens of a forward pass",
                          kStepTokens, kStepTokens);
  prometheus::Counter& failed_steps =
      counter("millrace_failed_steps_total", "Forward passes that failed");
  prometheus::Counter& computed_tokens =
      counter("millrace_prefill_tokens_total", "Tokens of prompts that were computed");
  prometheus::Counter& preemptions =
      counter("millrace_preemptions_total", "Sequences that gave up their blocks");
  prometheus::Counter& vllm_preemptions =
      counter("vllm:num_preemptions_total", "Sequences that gave up their blocks", labels);
  prometheus::Counter& queried =
      counter("millrace_prefix_cache_queried_tokens_total", "Tokens that were looked up");
  prometheus::Counter& vllm_queried =
      counter("vllm:prefix_cache_queries_total", "Tokens that were looked up", labels);
  prometheus::Counter& hits =
      counter("millrace_prefix_cache_hit_tokens_total", "Of them, tokens that were found");
  prometheus::Counter& vllm_hits =
      counter("vllm:prefix_cache_hits_total", "Of them, tokens that were found", labels);

  prometheus::Gauge& requests = gauge("millrace_engine_requests", "Requests in the engine");
  prometheus::Gauge& running = gauge("millrace_running_sequences", "Sequences with blocks");
  prometheus::Gauge& vllm_running =
      gauge("vllm:num_requests_running", "Sequences with blocks", labels);
  prometheus::Gauge& waiting = gauge("millrace_waiting_sequences", "Sequences that wait");
  prometheus::Gauge& vllm_waiting =
      gauge("vllm:num_requests_waiting", "Sequences that wait", labels);
  prometheus::Gauge& kv_usage =
      gauge("millrace_kv_cache_usage_ratio", "Blocks in use, of those there are");
  prometheus::Gauge& vllm_kv_usage =
      gauge("vllm:kv_cache_usage_perc", "Blocks in use, of those there are; 1 is all", labels);

  std::mutex scrape_mutex;  // of what follows the engine's own counters
  GenerationStats seen;     // at the last scrape
};

GenerationMetrics::GenerationMetrics(const std::string& model, int64_t max_model_len,
                                     const CacheGeometry& cache)
    : families_(std::make_unique<Families>(model, max_model_len, cache)) {}
GenerationMetrics::~GenerationMetrics() = default;

void GenerationMetrics::observe_tokenization(Clock::duration duration) {
  families_->tokenization.Observe(seconds(duration));
}

void GenerationMetrics::observe_first_token(Clock::duration since_received,
                                            int64_t num_prompt_tokens) {
  families_->first_token.observe(seconds(since_received));
  families_->prompt_tokens.Increment(static_cast<double>(num_prompt_tokens));
  families_->vllm_prompt_tokens.Increment(static_cast<double>(num_prompt_tokens));
}

void GenerationMetrics::observe_next_token(Clock::duration since_the_one_before) {
  families_->next_token.observe(seconds(since_the_one_before));
}

void GenerationMetrics::observe_choice(std::string_view finish_reason, int64_t num_tokens) {
  Families& families = *families_;
  const std::string reason(finish_reason);
  families.finished.Add({{"finish_reason", reason}}).Increment();
  prometheus::Labels labels = families.labels;
  labels["finished_reason"] = reason;
  families.vllm_finished.Add(labels).Increment();
  families.output_length.observe(static_cast<double>(num_tokens));
}

void GenerationMetrics::observe_prompt(const GenerationTimes& times, int64_t num_prompt_tokens,
                                       int64_t num_choices, int64_t max_tokens) {
  Families& families = *families_;
  families.prompt_length.observe(static_cast<double>(num_prompt_tokens));
  families.choices.observe(static_cast<double>(num_choices));
  families.max_tokens.observe(static_cast<double>(max_tokens));
  families.end_to_end.observe(seconds(times.last_token_at - times.received_at));
  if (!times.scheduled_at || !times.first_token_at) return;
  families.queue.observe(seconds(*times.scheduled_at - times.submitted_at));
  families.prefill.observe(seconds(*times.first_token_at - *times.scheduled_at));
  families.decode.observe(seconds(times.last_token_at - *times.first_token_at));
  families.inference.observe(seconds(times.last_token_at - *times.scheduled_at));
}

void GenerationMetrics::observe_failure(Refusal refusal) {
  families_->failures.Add({{"reason", std::string(failure_label(refusal))}}).Increment();
}

std::string GenerationMetrics::scrape(const GenerationStats& now) {
  Families& families = *families_;
  const std::lock_guard lock(families.scrape_mutex);
  const auto follow = [](uint64_t value, uint64_t& seen,
                         std::initializer_list<prometheus::Counter*> counters) {
    for (prometheus::Counter* counter : counters)
      counter->Increment(static_cast<double>(value - seen));
    seen = value;
  };
  GenerationStats& seen = families.seen;
  follow(now.num_steps, seen.num_steps, {&families.steps});
  families.step_tokens.observe(
      growth(now.steps_by_tokens, seen.steps_by_tokens, kStepTokens.size() + 1),
      static_cast<double>(now.num_step_tokens - seen.num_step_tokens));
  seen.steps_by_tokens = now.steps_by_tokens;
  seen.num_step_tokens = now.num_step_tokens;
  follow(now.num_failed_steps, seen.num_failed_steps, {&families.failed_steps});
  follow(now.num_prompt_tokens, seen.num_prompt_tokens, {&families.computed_tokens});
  follow(now.num_generated_tokens, seen.num_generated_tokens,
         {&families.generated_tokens, &families.vllm_generated_tokens});
  follow(now.num_preemptions, seen.num_preemptions,
         {&families.preemptions, &families.vllm_preemptions});
  follow(now.prefixes.num_queried_tokens, seen.prefixes.num_queried_tokens,
         {&families.queried, &families.vllm_queried});
  follow(now.prefixes.num_hit_tokens, seen.prefixes.num_hit_tokens,
         {&families.hits, &families.vllm_hits});
  const auto show = [](double value, std::initializer_list<prometheus::Gauge*> gauges) {
    for (prometheus::Gauge* gauge : gauges) gauge->Set(value);
  };
  show(static_cast<double>(now.num_requests), {&families.requests});
  show(static_cast<double>(now.num_running), {&families.running, &families.vllm_running});
  show(static_cast<double>(now.num_waiting), {&families.waiting, &families.vllm_waiting});
  double usage = 0;  // of the fullest group
  for (const CacheGroupStats& group : now.groups) {
    if (group.num_blocks == 0) continue;
    usage = std::max(usage,
                     static_cast<double>(group.num_used) / static_cast<double>(group.num_blocks));
  }
  show(usage, {&families.kv_usage, &families.vllm_kv_usage});
  return families.text();
}

}  // namespace millrace
