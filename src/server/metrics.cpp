// The families of /metrics. Names: base units, _total, _seconds (Prometheus' naming guide).
#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>

#include "base/clock.h"
#include "base/version.h"

namespace millrace {

namespace {

const prometheus::Histogram::BucketBoundaries kSeconds = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
const prometheus::Histogram::BucketBoundaries kTokens = {4,   8,   16,   32,   64,    128,
                                                         256, 512, 1024, 4096, 16384, 65536};

}  // namespace

struct Metrics::Families {
  prometheus::Registry registry;

  prometheus::Family<prometheus::Counter>& requests = prometheus::BuildCounter()
                                                          .Name("millrace_http_requests_total")
                                                          .Help("Answered HTTP requests")
                                                          .Register(registry);
  prometheus::Histogram& duration =
      histogram("millrace_http_request_duration_seconds",
                "From the whole request received to the last byte written", kSeconds);
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
  prometheus::Gauge& running = gauge("millrace_requests_in_flight", "Requests in the engine");
  prometheus::Gauge& waiting = gauge("millrace_waiting_tokens", "Tokens that wait for a step");
  prometheus::Gauge& step_sequences =
      gauge("millrace_last_step_sequences", "Sequences of the last step");
  prometheus::Gauge& step_tokens = gauge("millrace_last_step_tokens", "Tokens of the last step");
  prometheus::Gauge& connections = gauge("millrace_http_connections", "Open HTTP connections");
  std::mutex scrape_mutex;  // of the counters that follow the engine's own

  Families() {
    prometheus::BuildGauge()
        .Name("millrace_build_info")
        .Help("The version of the program")
        .Register(registry)
        .Add({{"version", std::string(kVersion)}})
        .Set(1);
  }

  prometheus::Counter& counter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
  }
  prometheus::Gauge& gauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
  }
  prometheus::Histogram& histogram(const char* name, const char* help,
                                   const prometheus::Histogram::BucketBoundaries& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, buckets);
  }
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {}
Metrics::~Metrics() = default;

void Metrics::observe_access(const http::AccessRecord& record) {
  // Routes are patterns of ours and statuses are few: a client cannot make labels grow.
  const std::string route = record.request.route.empty() ? "other" : record.request.route;
  families_->requests.Add({{"route", route}, {"status", std::to_string(record.status)}})
      .Increment();
  families_->duration.Observe(seconds(record.duration));
}

void Metrics::observe_tokenization(double duration, int64_t num_inputs, int64_t num_truncated) {
  families_->tokenization.Observe(duration);
  families_->inputs.Increment(static_cast<double>(num_inputs));
  families_->truncated.Increment(static_cast<double>(num_truncated));
}

void Metrics::observe_request(const RequestTimings& timings, int64_t num_tokens) {
  families_->queue.Observe(seconds(timings.queue));
  families_->compute.Observe(seconds(timings.compute));
  families_->request_tokens.Observe(static_cast<double>(num_tokens));
}

std::string Metrics::scrape(const EngineStats& engine, size_t num_connections) {
  const std::lock_guard lock(families_->scrape_mutex);
  const auto follow = [](prometheus::Counter& counter, uint64_t value) {
    counter.Increment(static_cast<double>(value) - counter.Value());
  };
  follow(families_->steps, engine.num_steps);
  follow(families_->failed_steps, engine.num_failed_steps);
  follow(families_->sequences, engine.num_sequences);
  follow(families_->tokens, engine.num_tokens);
  families_->running.Set(static_cast<double>(engine.num_requests));
  families_->waiting.Set(static_cast<double>(engine.num_waiting_tokens));
  families_->step_sequences.Set(static_cast<double>(engine.last_step_sequences));
  families_->step_tokens.Set(static_cast<double>(engine.last_step_tokens));
  families_->connections.Set(static_cast<double>(num_connections));
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace millrace
