// fork, exec, one line of output.
#include "cli/chat_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace millrace {

namespace {

constexpr size_t kMaxReadyLine = 64 * 1024;

[[noreturn]] void throw_errno(const char* what) {
  throw Error(ErrorCode::kIo, fmt::format("{}: {}", what, std::strerror(errno)));
}

// The first line that the server prints, or nothing when it ended without one.
std::string read_line(int file) {
  std::string line;
  char c = 0;
  while (line.size() < kMaxReadyLine) {
    const ssize_t count = ::read(file, &c, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return {};
    if (c == '\n') return line;
    line += c;
  }
  return {};
}

}  // namespace

ChatServer::ChatServer(const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"millrace", "serve"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_errno("cannot make a pipe");
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw_errno("cannot start a server");
  if (pid_ == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    ::dup2(ends[1], STDOUT_FILENO);
    ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  output_ = ends[0];  // stays open: the server may print more
  const std::string line = read_line(output_);
  const size_t at = line.rfind(" at http://");
  if (at == std::string::npos) {
    stop();
    throw Error(ErrorCode::kUnavailable, "the model could not be served",
                "its server said why, above");
  }
  url_ = line.substr(at + 4);
}

void ChatServer::stop() {
  ::kill(pid_, SIGTERM);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  ::close(output_);
}

}  // namespace millrace
