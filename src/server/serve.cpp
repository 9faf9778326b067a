// Load, listen, wait for a signal, drain.
#include "server/serve.h"

#include <fmt/core.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/log.h"
#include "server/access_log.h"
#include "server/service.h"

namespace millrace {

namespace {

// SIGTERM and SIGINT as something to wait for. Blocks both in this thread and its later children.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }

  int wait() const {
    int signal = 0;
    sigwait(&set_, &signal);
    return signal;
  }

  // From now on a signal ends the process the ordinary way, at once.
  void restore() const { pthread_sigmask(SIG_UNBLOCK, &set_, nullptr); }

 private:
  sigset_t set_{};
};

int http_threads() {
  return static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 2u, 16u));
}

void report(const Service& service) {
  for (const std::string& line : service.report()) log::info("{}", line);
  const RuntimeConfig& config = service.config();
  if (!service.has_keys() && !is_loopback(config.host))
    log::warn("anybody who reaches this address may use the server: no API key is set");
}

// A connection is a file, and the usual soft limit of 1024 is far below max_connections.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

log::Form log_form(LogFormat format) {
  if (format == LogFormat::kAuto)
    return isatty(STDERR_FILENO) ? log::Form::kText : log::Form::kJson;
  return format == LogFormat::kJson ? log::Form::kJson : log::Form::kText;
}

http::ServerOptions server_options(const RuntimeConfig& runtime, Service& service,
                                   const AccessLog& access_log) {
  using std::chrono::seconds;
  const ClientLimits& limits = runtime.limits;
  return {.host = runtime.host,
          .port = static_cast<uint16_t>(runtime.port),
          .num_threads = http_threads(),
          .max_connections = static_cast<size_t>(limits.max_connections),
          .max_header_bytes = static_cast<size_t>(limits.max_header_bytes),
          .max_body_bytes = static_cast<size_t>(limits.max_body_bytes),
          .max_total_body_bytes = static_cast<size_t>(limits.max_total_body_bytes),
          .header_timeout = seconds(limits.header_timeout_s),
          .body_timeout = seconds(limits.body_timeout_s),
          .idle_timeout = seconds(limits.idle_timeout_s),
          .admit = [&service](const http::Request& head) { return service.admit(head); },
          .error_body =
              [&service](int status, std::string_view message, const http::Request& request) {
                return service.refuse(status, message, request);
              },
          .on_access =
              [&](const http::AccessRecord& record) {
                service.metrics().observe_access(record);
                access_log.write(record);
              }};
}

// Limits that somebody wrote, in a config.yaml or as flags, hold over those of an engine too.
StepLimitOverrides written_limits(const ServeOptions& options) {
  StepLimitOverrides limits;
  for (const Setting& setting : options.settings) {
    if (setting.path == "trt_llm.build.max_seq_len") limits.max_seq_len = options.build.max_seq_len;
    if (setting.path == "trt_llm.build.max_batch_size")
      limits.max_batch_size = options.build.max_batch_size;
    if (setting.path == "trt_llm.build.max_num_tokens")
      limits.max_num_tokens = options.build.max_num_tokens;
  }
  return limits;
}

}  // namespace

int serve(const ServeOptions& options) {
  const StopSignals signals;
  const RuntimeConfig& runtime = options.runtime;
  const log::Form form = log_form(runtime.log_format);
  log::configure(form, spdlog::level::from_str(std::string(to_string(runtime.log_level))));
  raise_file_limit();
  auto model = LoadedModel::open(options.model, {.device = runtime.device,
                                                 .dtype = runtime.dtype,
                                                 .num_threads = runtime.num_threads,
                                                 .build = options.build,
                                                 .limits = written_limits(options),
                                                 .generation = runtime.generation,
                                                 .deterministic = runtime.deterministic,
                                                 .enforce_eager = runtime.enforce_eager});
  std::atomic<bool> device_lost{false};
  // A supervisor restarts the process; until then it drains like one that was told to stop.
  Service service(std::move(model), runtime, options.settings, [&device_lost] {
    device_lost = true;
    ::kill(::getpid(), SIGTERM);
  });
  service.warm_up();
  const http::Router router = service.make_router();
  const AccessLog access_log(form, service.model_name());
  http::Server server(
      server_options(runtime, service, access_log),
      [&router](std::shared_ptr<http::Exchange> exchange) { router.handle(std::move(exchange)); });
  service.attach(server);
  server.start();
  report(service);
  fmt::print("millrace: serving {} at {}\n", service.model_name(), server.address());
  std::fflush(stdout);

  const int signal = signals.wait();
  if (device_lost) log::error("the GPU failed: ending, to be started anew");
  log::info("{}: finishing the requests in work, for at most {} s",
            signal == SIGTERM ? "SIGTERM" : "SIGINT", runtime.drain_timeout_s);
  signals.restore();
  service.begin_drain();
  const bool drained = server.drain(std::chrono::seconds(runtime.drain_timeout_s));
  log::info(drained ? "drained" : "the drain timed out; requests were cut off");
  service.stop();
  if (device_lost) return kDeviceLostStatus;
  return drained ? 0 : 1;
}

}  // namespace millrace
