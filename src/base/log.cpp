// The two forms of log lines.
#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>

#include "base/strings.h"

namespace millrace::log {

namespace {

// The message as a string of JSON: pattern flag %*.
class JsonMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string text =
        to_json_string(std::string_view(message.payload.data(), message.payload.size()));
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessage>();
  }
};

}  // namespace

void configure(Form form, spdlog::level::level_enum level) {
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  auto formatter = std::make_unique<spdlog::pattern_formatter>(
      form == Form::kJson ? spdlog::pattern_time_type::utc : spdlog::pattern_time_type::local);
  formatter->add_flag<JsonMessage>('*');
  formatter->set_pattern(form == Form::kJson
                             ? R"({"ts":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","msg":%*})"
                             : "%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  auto logger = std::make_shared<spdlog::logger>("millrace", std::move(sink));
  logger->set_formatter(std::move(formatter));
  logger->set_level(level);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace millrace::log
