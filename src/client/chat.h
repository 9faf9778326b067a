// The chat behind `millrace chat`: lines in, commands or messages; answers out as they stream.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "client/conversation.h"
#include "http/base_url.h"
#include "http/message.h"

namespace millrace {

struct ChatOptions {
  http::BaseUrl server;
  http::Headers headers;
  std::string model;  // empty: the request does not name one
  std::string system;
  ChatSampling sampling;
  bool show_safely = true;  // output goes to a terminal: control characters are spelled out
  bool stats = false;       // a line about tokens and times behind each answer
};

struct ChatOutput {
  std::function<void(std::string_view)> answer;   // text of the model, as it comes
  std::function<void(std::string_view)> remark;   // of ours: whole lines, without line feeds
  std::function<void(std::string_view)> problem;  // whole sentences
};

// One thread.
class Chat {
 public:
  // `interrupted` ends an answer, also one that has not begun, and is set back.
  Chat(ChatOptions options, ChatOutput output, std::atomic<bool>& interrupted);
  ~Chat();

  // A command or a message to send. False after /quit. Blank lines do nothing.
  bool take_line(std::string_view line);

  // Sends a message and hands the answer out. False where there was none: the problem is told, and
  // the message is no part of the conversation. What an interrupted answer had said so far stays.
  bool ask(std::string message);

  bool had_problem() const { return had_problem_; }
  const Conversation& conversation() const { return conversation_; }

 private:
  struct Link;

  void tell_problem(std::string text);
  bool run_command(std::string_view line);  // false: quit

  ChatOptions options_;
  ChatOutput output_;
  std::atomic<bool>& interrupted_;
  Conversation conversation_;
  std::unique_ptr<Link> link_;  // to the server
  bool had_problem_ = false;
};

}  // namespace millrace
