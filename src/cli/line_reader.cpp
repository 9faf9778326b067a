// poll(2), read(2) and a buffer.
#include "cli/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace millrace {

namespace {

constexpr size_t kMaxLineBytes = 16 * 1024 * 1024;
constexpr int kLookAgainMs = 50;  // for a signal that came just before a wait

}  // namespace

LineReader::Result LineReader::fill() {
  pollfd input{.fd = file_, .events = POLLIN, .revents = 0};
  int ready = 0;
  while (ready == 0) {
    if (interrupted_.exchange(false)) return Result::kInterrupted;
    ready = ::poll(&input, 1, kLookAgainMs);
    if (ready < 0 && errno == EINTR) ready = 0;
  }
  char bytes[4096];
  const ssize_t count = ready < 0 ? -1 : ::read(file_, bytes, sizeof(bytes));
  if (count < 0 && errno == EINTR) return fill();
  if (count < 0) {
    throw Error(ErrorCode::kIo, fmt::format("cannot read the input: {}", std::strerror(errno)));
  }
  if (count == 0) return Result::kEnd;
  buffer_.append(bytes, static_cast<size_t>(count));
  if (buffer_.size() > kMaxLineBytes) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("the input is longer than {} bytes", kMaxLineBytes),
                "send long texts to the server itself");
  }
  return Result::kLine;
}

LineReader::Result LineReader::next(std::string& line) {
  size_t end = 0;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    const Result result = fill();
    if (result == Result::kLine) continue;
    if (result == Result::kInterrupted) {
      buffer_.clear();
      return result;
    }
    if (buffer_.empty()) return result;
    end = buffer_.size();
    break;
  }
  line = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return Result::kLine;
}

std::string LineReader::rest() {
  while (fill() != Result::kEnd) {
  }
  return std::move(buffer_);
}

}  // namespace millrace
