// Names: base units, _total, _seconds (Prometheus' naming guide).
#include "server/metrics.h"

#include "base/clock.h"
#include "base/version.h"
#include "server/metrics_registry.h"

namespace millrace {

struct Metrics::Families : MetricsRegistry {
  Families() {
    gauge("millrace_build_info", "The version of the program", {{"version", std::string(kVersion)}})
        .Set(1);
  }

  prometheus::Family<prometheus::Counter>& http_requests =
      counters("millrace_http_requests_total", "Answered HTTP requests");
  prometheus::Histogram& http_duration =
      histogram("millrace_http_request_duration_seconds",
                "From the whole request received to the last byte written", kSeconds);
  prometheus::Gauge& in_flight =
      gauge("millrace_requests_in_flight", "Requests that hold one of max_concurrent_requests");
  prometheus::Gauge& connections = gauge("millrace_http_connections", "Open HTTP connections");
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {}
Metrics::~Metrics() = default;

void Metrics::observe_access(const http::AccessRecord& record) {
  // Routes are patterns of ours and statuses are few: a client cannot make labels grow.
  const std::string route = record.request.route.empty() ? "other" : record.request.route;
  families_->http_requests.Add({{"route", route}, {"status", std::to_string(record.status)}})
      .Increment();
  families_->http_duration.Observe(seconds(record.duration));
}

std::string Metrics::scrape(size_t num_connections, int num_in_flight) {
  families_->connections.Set(static_cast<double>(num_connections));
  families_->in_flight.Set(num_in_flight);
  return families_->text();
}

}  // namespace millrace
