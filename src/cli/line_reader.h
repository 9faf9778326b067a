// Lines of standard input, with Ctrl-C told apart from their end.
#pragma once

#include <atomic>
#include <string>

namespace millrace {

class LineReader {
 public:
  enum class Result { kLine, kEnd, kInterrupted };

  // `interrupted` is what a signal handler sets: it ends a wait, and is set back.
  LineReader(int file, std::atomic<bool>& interrupted) : file_(file), interrupted_(interrupted) {}

  // A last line without line feed counts as a line. What was typed before an interrupt is dropped.
  // Throws Error{kInvalidArgument} beyond 16 MiB.
  Result next(std::string& line);

  std::string rest();  // all that is left

 private:
  Result fill();

  int file_;
  std::atomic<bool>& interrupted_;
  std::string buffer_;
};

}  // namespace millrace
