// The line's fields, in text and in JSON. The query is left out: it may hold a key.
#include "server/access_log.h"

#include <fmt/chrono.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "base/clock.h"
#include "base/strings.h"

namespace millrace {

namespace {

std::string_view tokens_of(const http::AccessRecord& record) {
  if (!record.response_headers) return "";
  return record.response_headers->find("x-compute-tokens").value_or("");
}

}  // namespace

AccessLog::AccessLog(log::Form form, std::string model) : form_(form), model_(std::move(model)) {
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  json_ = std::make_shared<spdlog::logger>("access", std::move(sink));
  json_->set_pattern("%v");
}

void AccessLog::write(const http::AccessRecord& record) const {
  if (!spdlog::should_log(spdlog::level::info)) return;
  if (form_ == log::Form::kJson) return write_json(record);
  const http::Request& request = record.request;
  const std::string_view tokens = tokens_of(record);
  log::info("{} {} {} {:.1f} ms{}{}{} {}", request.method.empty() ? "-" : request.method,
            request.path.empty() ? "-" : request.path, record.status,
            seconds(record.duration) * 1e3, tokens.empty() ? "" : " ", tokens,
            tokens.empty() ? "" : " tokens", request.id);
}

void AccessLog::write_json(const http::AccessRecord& record) const {
  const http::Request& request = record.request;
  const auto now =
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto ms = now.time_since_epoch().count() % 1000;
  const std::string_view tokens = tokens_of(record);
  json_->info(R"({{"ts":"{:%Y-%m-%dT%H:%M:%S}.{:03}Z","level":"info","msg":"request","req":{},)"
              R"("model":{},"remote":"{}","method":{},"path":{},"status":{},"ms":{:.3f},)"
              R"("bytes_in":{},"bytes_out":{},"tokens":{},"client_gone":{}}})",
              fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms,
              to_json_string(request.id), to_json_string(model_), request.remote,
              to_json_string(request.method), to_json_string(request.path), record.status,
              seconds(record.duration) * 1e3, record.request_bytes, record.response_bytes,
              tokens.empty() ? "null" : tokens, record.client_gone);
}

}  // namespace millrace
