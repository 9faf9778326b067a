// A server of our own for one chat: `millrace serve` as a child process on a free port.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace millrace {

class ChatServer {
 public:
  // Starts `millrace serve ARGUMENTS...` and waits until it listens. What it has to say (warnings,
  // errors) appears on standard error. It does not see the terminal's Ctrl-C, and ends when we do.
  // Throws Error{kUnavailable} when it ends before it is ready.
  explicit ChatServer(const std::vector<std::string>& arguments);
  ~ChatServer() { stop(); }
  ChatServer(const ChatServer&) = delete;
  ChatServer& operator=(const ChatServer&) = delete;

  const std::string& url() const { return url_; }

 private:
  void stop();

  pid_t pid_ = -1;
  int output_ = -1;
  std::string url_;
};

}  // namespace millrace
