// The families of /metrics. Names of ours: base units, _total, _seconds (Prometheus' naming guide);
// names, units and buckets of te_*: TEI's router, so that its dashboards go on.
#include "server/encoder_metrics.h"

#include <algorithm>
#include <mutex>

#include "base/clock.h"
#include "server/metrics_registry.h"

namespace millrace {

namespace {

using Buckets = MetricsRegistry::Buckets;

const Buckets kTokens = {4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536};

Buckets geometric(double first, double ratio, size_t count) {
  Buckets buckets;
  for (double value = first; buckets.size() < count; value *= ratio) buckets.push_back(value);
  return buckets;
}

Buckets powers_of_two_to(int64_t max) {
  Buckets buckets;
  for (int64_t value = 1; value <= max && value <= (1 << 20); value *= 2)
    buckets.push_back(static_cast<double>(value));
  return buckets;
}

const Buckets kTeiStepSequences = powers_of_two_to(4096);
const Buckets kTeiStepTokens = powers_of_two_to(1 << 20);

std::string_view tei_failure_label(Refusal refusal) {
  switch (refusal) {
    case Refusal::kInvalid:
    case Refusal::kEmpty: return "validation";
    case Refusal::kTokenizer: return "tokenization";
    case Refusal::kWrongModel: return "model_type";
    case Refusal::kOverloaded: return "overloaded";
    case Refusal::kTimeout: return "timeout";
    case Refusal::kUnavailable: return "unavailable";
    case Refusal::kBackend:
    default: return "inference";
  }
}

}  // namespace

struct EncoderMetrics::Families : MetricsRegistry {
  explicit Families(int64_t max_input_tokens);

  // <prefix>_duration, <prefix>_queue_duration, ...: of a request, in seconds.
  struct Durations {
    prometheus::Histogram& total;
    prometheus::Histogram& tokenization;
    prometheus::Histogram& queue;
    prometheus::Histogram& inference;
  };
  Durations durations(const std::string& prefix) {
    const Buckets buckets = geometric(1.5e-5, 1.5, 35);
    return {histogram(prefix + "_duration", "Seconds", buckets),
            histogram(prefix + "_tokenization_duration", "Seconds", buckets),
            histogram(prefix + "_queue_duration", "Seconds", buckets),
            histogram(prefix + "_inference_duration", "Seconds", buckets)};
  }

  // Of the inputs of one task.
  struct Task {
    prometheus::Counter& count;
    prometheus::Counter& success;
    Durations times;
  };
  Task task(const std::string& prefix) {
    return {counter((prefix + "_count").c_str(), "Inputs"),
            counter((prefix + "_success").c_str(), "Inputs that were answered"), durations(prefix)};
  }
  Task& of(ModelTask task) { return task == ModelTask::kEmbed ? te_embed : te_predict; }

  prometheus::Histogram& tokenization =
      histogram("millrace_tokenization_duration_seconds", "Tokenization of one request", kSeconds);
  prometheus::Histogram& queue =
      histogram("millrace_queue_duration_seconds", "Submitted until the first step", kSeconds);
  prometheus::Histogram& compute = histogram("millrace_inference_duration_seconds",
                                             "First step's start to last step's end", kSeconds);
  prometheus::Histogram& request_tokens =
      histogram("millrace_request_tokens", "Tokens of one request", kTokens);
  prometheus::Counter& inputs = counter("millrace_inputs_total", "Inputs that were tokenized");
  prometheus::Counter& truncated =
      counter("millrace_truncated_inputs_total", "Inputs longer than the model's limit");
  prometheus::Counter& steps = counter("millrace_steps_total", "Forward passes");
  prometheus::Counter& failed_steps =
      counter("millrace_failed_steps_total", "Forward passes that failed");
  prometheus::Counter& sequences = counter("millrace_sequences_total", "Sequences computed");
  prometheus::Counter& tokens = counter("millrace_tokens_total", "Tokens computed");
  prometheus::Gauge& running = gauge("millrace_engine_requests", "Requests in the engine");
  prometheus::Gauge& waiting = gauge("millrace_waiting_tokens", "Tokens that wait for a step");

  prometheus::Family<prometheus::Counter>& te_requests =
      counters("te_request_count", "Requests for the model");
  prometheus::Family<prometheus::Counter>& te_successes =
      counters("te_request_success", "Requests that were answered");
  prometheus::Family<prometheus::Counter>& te_failures =
      counters("te_request_failure", "Requests that were refused");
  prometheus::Histogram& te_input_length;
  Durations te_times = durations("te_request");
  Task te_embed = task("te_embed");
  Task te_predict = task("te_predict");
  prometheus::Histogram& te_batch_size =
      histogram("te_batch_next_size", "Sequences of a step", kTeiStepSequences);
  prometheus::Histogram& te_batch_tokens =
      histogram("te_batch_next_tokens", "Tokens of a step", kTeiStepTokens);
  prometheus::Gauge& te_queue_size = gauge("te_queue_size", "Requests in the engine");

  std::mutex scrape_mutex;  // of what follows the engine's own counters
  EngineStats seen;         // at the last scrape
};

EncoderMetrics::Families::Families(int64_t max_input_tokens)
    : te_input_length(histogram("te_request_input_length", "Tokens of an input",
                                powers_of_two_to(max_input_tokens))) {}

EncoderMetrics::EncoderMetrics(int64_t max_input_tokens)
    : families_(std::make_unique<Families>(max_input_tokens)) {}
EncoderMetrics::~EncoderMetrics() = default;

void EncoderMetrics::observe_request(bool batch) {
  families_->te_requests.Add({{"method", batch ? "batch" : "single"}}).Increment();
}

void EncoderMetrics::observe_input(ModelTask task, int64_t num_tokens, bool truncated) {
  families_->inputs.Increment();
  if (truncated) families_->truncated.Increment();
  families_->te_input_length.Observe(static_cast<double>(num_tokens));
  families_->of(task).count.Increment();
}

void EncoderMetrics::observe_success(const InferenceRecord& record) {
  families_->tokenization.Observe(seconds(record.tokenization));
  families_->queue.Observe(seconds(record.timings.queue));
  families_->compute.Observe(seconds(record.timings.compute));
  families_->request_tokens.Observe(static_cast<double>(record.num_tokens));
  families_->te_successes.Add({{"method", record.num_inputs > 1 ? "batch" : "single"}}).Increment();
  Families::Task& task = families_->of(record.task);
  task.success.Increment(static_cast<double>(record.num_inputs));
  for (const Families::Durations* times : {&families_->te_times, &task.times}) {
    times->total.Observe(seconds(record.total));
    times->tokenization.Observe(seconds(record.tokenization));
    times->queue.Observe(seconds(record.timings.queue));
    times->inference.Observe(seconds(record.timings.compute));
  }
}

void EncoderMetrics::observe_failure(Refusal refusal) {
  families_->te_failures.Add({{"err", std::string(tei_failure_label(refusal))}}).Increment();
}

std::string EncoderMetrics::scrape(const EngineStats& now) {
  const std::lock_guard lock(families_->scrape_mutex);
  EngineStats& seen = families_->seen;
  const auto follow = [&](prometheus::Counter& counter, uint64_t EngineStats::*field) {
    counter.Increment(static_cast<double>(now.*field - seen.*field));
  };
  const auto follow_sizes = [&](prometheus::Histogram& histogram, size_t num_buckets,
                                StepSizes EngineStats::*field, uint64_t EngineStats::*sum) {
    histogram.ObserveMultiple(growth(now.*field, seen.*field, num_buckets + 1),
                              static_cast<double>(now.*sum - seen.*sum));
  };
  follow(families_->steps, &EngineStats::num_steps);
  follow(families_->failed_steps, &EngineStats::num_failed_steps);
  follow(families_->sequences, &EngineStats::num_sequences);
  follow(families_->tokens, &EngineStats::num_tokens);
  follow_sizes(families_->te_batch_size, kTeiStepSequences.size(), &EngineStats::steps_by_sequences,
               &EngineStats::num_sequences);
  follow_sizes(families_->te_batch_tokens, kTeiStepTokens.size(), &EngineStats::steps_by_tokens,
               &EngineStats::num_tokens);
  families_->running.Set(static_cast<double>(now.num_requests));
  families_->te_queue_size.Set(static_cast<double>(now.num_requests));
  families_->waiting.Set(static_cast<double>(now.num_waiting_tokens));
  seen = now;
  return families_->text();
}

}  // namespace millrace
