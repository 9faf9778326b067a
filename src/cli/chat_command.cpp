// millrace chat: flags, the terminal, and a server where the model is ours to serve.
#include "cli/chat_command.h"

#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/chat_server.h"
#include "cli/ctrl_c.h"
#include "cli/line_reader.h"
#include "client/chat.h"
#include "client/server_address.h"

namespace millrace {

namespace {

struct ChatCommand {
  std::string what;
  std::string model;
  std::string api_key;
  std::string system;
  ChatSampling sampling;
  std::string device;
  std::string dtype;
  std::string revision;
  bool once = false;
  bool stats = false;
};

// Ctrl-C is noted, and ends a wait for the terminal at once.
void note_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { ctrl_c_pressed = true; };
  ::sigaction(SIGINT, &action, nullptr);
}

void write_out(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

ChatOutput output() {
  return {.answer = write_out,
          .remark = [](std::string_view text) { fmt::print(stderr, "({})\n", text); },
          .problem = [](std::string_view text) { fmt::print(stderr, "millrace: {}\n", text); }};
}

std::vector<std::string> serve_arguments(const ChatCommand& command) {
  std::vector<std::string> arguments{command.what,  "--host", "127.0.0.1",    "--port", "0",
                                     "--log-level", "warn",   "--log-format", "text"};
  const auto add = [&](const char* flag, const std::string& value) {
    if (value.empty()) return;
    arguments.emplace_back(flag);
    arguments.push_back(value);
  };
  add("--device", command.device);
  add("--dtype", command.dtype);
  add("--revision", command.revision);
  return arguments;
}

// Lines from a person: a prompt before each, and Ctrl-C drops what was typed.
void talk(Chat& chat, LineReader& reader) {
  fmt::print(stderr, "(/help lists the commands)\n");
  std::string line;
  while (true) {
    fmt::print(stderr, "> ");
    switch (reader.next(line)) {
      case LineReader::Result::kInterrupted:
        fmt::print(stderr, "\n(/quit or Ctrl-D leaves)\n");
        continue;
      case LineReader::Result::kEnd: fmt::print(stderr, "\n"); return;
      case LineReader::Result::kLine: break;
    }
    if (!chat.take_line(line)) return;
  }
}

// Lines from a file or a program: each is a message or a command.
void answer_lines(Chat& chat, LineReader& reader) {
  std::string line;
  while (reader.next(line) == LineReader::Result::kLine) {
    if (!chat.take_line(line)) return;
  }
}

int run(const ChatCommand& command) {
  std::optional<ChatServer> own;
  std::string url = command.what;
  if (!url.starts_with("http://") && !url.starts_with("https://")) {
    if (::isatty(STDERR_FILENO)) fmt::print(stderr, "(loading {})\n", command.what);
    url = own.emplace(serve_arguments(command)).url();
  }
  ChatOptions options{.server = http::parse_base_url(url),
                      .headers = key_headers(command.api_key),
                      .model = command.model,
                      .system = command.system,
                      .sampling = command.sampling,
                      .show_safely = ::isatty(STDOUT_FILENO) == 1,
                      .stats = command.stats};
  if (options.model.empty()) options.model = served_model(options.server, options.headers);
  LineReader reader(STDIN_FILENO, ctrl_c_pressed);
  std::string whole = command.once ? reader.rest() : std::string();  // Ctrl-C still ends us
  note_interrupts();
  Chat chat(std::move(options), output(), ctrl_c_pressed);
  if (command.once) {
    chat.ask(std::move(whole));
  } else if (::isatty(STDIN_FILENO) == 1) {
    talk(chat, reader);
    return 0;  // whatever went wrong was seen, and could be tried again
  } else {
    answer_lines(chat, reader);
  }
  return chat.had_problem() ? 1 : 0;
}

}  // namespace

void add_chat_command(CLI::App& app, int& status) {
  auto& chat = *app.add_subcommand("chat", "Talk to a model on the terminal");
  const auto command = std::make_shared<ChatCommand>();
  chat.add_option("model", command->what,
                  "An engine, a checkpoint directory, a repository of the hub or a config.yaml to "
                  "serve for this chat, or the http://host:port of a server of the OpenAI API")
      ->required();
  chat.add_option("--system", command->system, "The text that a conversation begins with");
  chat.add_option("--model", command->model, "Of a server: the model to ask for (its first)");
  chat.add_option("--api-key", command->api_key,
                  "Sent as a bearer token (MILLRACE_API_KEY or OPENAI_API_KEY of the environment)");
  ChatSampling& sampling = command->sampling;
  chat.add_option("--temperature", sampling.temperature, "0: always the likeliest token")
      ->check(CLI::Range(0.0, 2.0));
  chat.add_option("--top-p", sampling.top_p, "Draw from the likeliest tokens of this total")
      ->check(CLI::Range(0.0, 1.0));
  chat.add_option("--top-k", sampling.top_k, "Draw from this many tokens");
  chat.add_option("--min-p", sampling.min_p, "Leave out tokens below this share of the likeliest")
      ->check(CLI::Range(0.0, 1.0));
  chat.add_option("--repetition-penalty", sampling.repetition_penalty,
                  "Above 1: what was said already is less likely");
  chat.add_option("--max-tokens", sampling.max_tokens, "Of one answer")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31));
  chat.add_option("--seed", sampling.seed, "Of drawing");
  chat.add_option("--device", command->device, "Of a model served here: auto, cpu or cuda[:n]");
  chat.add_option("--dtype", command->dtype,
                  "Of a model served here: compute in auto, fp32, fp16 or bf16");
  chat.add_option("--revision", command->revision,
                  "Of a repository: branch, tag, commit or refs/pr/N (main)");
  chat.add_flag("--once", command->once,
                "All of the standard input is one message; answer it and end");
  chat.add_flag("--stats", command->stats, "Tell tokens and times behind each answer");
  chat.callback([command, &status] { status = run(*command); });
}

}  // namespace millrace
