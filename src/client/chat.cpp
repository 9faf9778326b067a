// Commands, and one answer after the other over a connection that is kept.
#include "client/chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "client/completion_stream.h"
#include "client/server_address.h"
#include "client/terminal_text.h"
#include "http/async_client.h"

namespace millrace {

namespace {

constexpr auto kPoll = std::chrono::milliseconds(20);  // of the interrupt
constexpr auto kTimeout = std::chrono::hours(24);      // whoever is tired of waiting interrupts

constexpr auto kHelp = std::to_array<std::string_view>(
    {"/help          this list", "/reset         forget the conversation, keep the system text",
     "/system TEXT   begin anew with this system text; without TEXT: with none",
     "/quit          leave (also Ctrl-D); Ctrl-C stops an answer"});

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string safe(std::string_view text) {
  TerminalText terminal;
  return terminal.feed(text) + terminal.end();
}

std::string sentence_of(const http::CallResult& result, const CompletionStream& answer,
                        const std::string& where) {
  const std::string said =
      answer.error_message().empty() ? "" : ": " + safe(answer.error_message());
  if (!answer.failure().empty()) {
    return fmt::format("{} sent {}{}", where, answer.failure(), said);
  }
  if (result.outcome == http::CallOutcome::kAnswered) {
    return fmt::format("{} answered {} {}{}", where, result.response.status,
                       http::status_text(result.response.status), said);
  }
  if (result.outcome == http::CallOutcome::kRefused) {
    return fmt::format("nobody listens at {}: is the server running?", where);
  }
  return fmt::format("no whole answer from {} ({}): {}", where, to_string(result.outcome),
                     result.detail);
}

}  // namespace

struct Chat::Link {
  http::AsyncClient client;
  std::atomic<bool>& interrupted;
  std::optional<http::AsyncClient::CallId> call{};  // in flight

  // Goes on for as long as there is somebody in client.run().
  void poll() {
    if (call && interrupted) client.abort(*call);
    client.at(Clock::now() + kPoll, [this] { poll(); });
  }
};

Chat::Chat(ChatOptions options, ChatOutput output, std::atomic<bool>& interrupted)
    : options_(std::move(options)),
      output_(std::move(output)),
      interrupted_(interrupted),
      link_(new Link{.client{options_.server.host, options_.server.port, {.timeout = kTimeout}},
                     .interrupted = interrupted}) {
  link_->poll();
  conversation_.set_system(options_.system);
}

Chat::~Chat() = default;

void Chat::tell_problem(std::string text) {
  had_problem_ = true;
  output_.problem(text);
}

bool Chat::take_line(std::string_view line) {
  const std::string_view text = trimmed(line);
  if (text.empty()) return true;
  if (text.front() == '/') return run_command(text);
  ask(std::string(text));
  return true;
}

bool Chat::run_command(std::string_view line) {
  const size_t space = std::min(line.find_first_of(" \t"), line.size());
  const std::string_view name = line.substr(0, space);
  const std::string_view rest = trimmed(line.substr(space));
  if (name == "/quit" || name == "/exit") return false;
  if (name == "/help") {
    for (const std::string_view one : kHelp) output_.remark(one);
  } else if (name == "/reset") {
    conversation_.reset();
    output_.remark("the conversation begins anew");
  } else if (name == "/system") {
    conversation_.reset();
    conversation_.set_system(std::string(rest));
    output_.remark(rest.empty() ? "the conversation begins anew, without a system text"
                                : "the conversation begins anew, with this system text");
  } else {
    tell_problem(fmt::format("{} is no command; /help lists them", safe(name)));
  }
  return true;
}

bool Chat::ask(std::string message) {
  conversation_.add_user(std::move(message));
  http::Request request{.method = "POST",
                        .target = route_path(options_.server, "/v1/chat/completions"),
                        .headers = options_.headers};
  request.headers.set("content-type", "application/json");
  request.body = conversation_.request_body(options_.model, options_.sampling);

  const auto begin = Clock::now();
  std::optional<Clock::time_point> first_at;
  std::string said;
  TerminalText shown;
  CompletionStream answer([&](const CompletionPiece& piece) {
    if (!first_at) first_at = Clock::now();
    said += piece.text;
    const std::string both = piece.reasoning + piece.text;
    output_.answer(options_.show_safely ? shown.feed(both) : both);
  });
  std::optional<http::CallResult> result;
  http::AsyncClient& client = link_->client;
  link_->call = client.send(
      std::move(request),
      [&](http::CallResult r) {
        result = std::move(r);
        client.stop();
      },
      {}, answer.hooks());
  while (!result) client.run();
  link_->call.reset();
  const bool stopped = interrupted_.exchange(false);
  if (result->outcome == http::CallOutcome::kAnswered) answer.on_end();
  if (options_.show_safely) output_.answer(shown.end());

  const bool good = result->outcome == http::CallOutcome::kAnswered && answer.failure().empty() &&
                    result->response.status >= 200 && result->response.status < 300;
  if (!good && !stopped) {
    if (first_at) output_.answer("\n");
    conversation_.drop_last();
    tell_problem(sentence_of(*result, answer,
                             fmt::format("{}:{}", options_.server.host, options_.server.port)));
    return false;
  }
  output_.answer("\n");
  if (stopped && said.empty()) {
    conversation_.drop_last();
  } else {
    conversation_.add_assistant(std::move(said));
  }
  if (stopped) {
    output_.remark("stopped");
  } else if (answer.finish_reason() == "length") {
    output_.remark("the answer was cut at its limit of tokens");
  }
  if (options_.stats && good) {
    const double total = seconds(Clock::now() - begin);
    const double first = first_at ? seconds(*first_at - begin) : total;
    output_.remark(fmt::format("{} tokens in, {} out; {:.0f} ms to the first, {:.1f} s in all",
                               answer.prompt_tokens().value_or(0),
                               answer.completion_tokens().value_or(0), 1e3 * first, total));
  }
  return true;
}

}  // namespace millrace
