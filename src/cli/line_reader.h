// Lines of standard input, with Ctrl-C told apart from their end.
#pragma once

#include <string>

namespace millrace {

class LineReader {
 public:
  enum class Result { kLine, kEnd, kInterrupted };

  explicit LineReader(int file) : file_(file) {}

  // A last line without line feed counts as a line. A signal whose handler does not restart reads
  // interrupts, and what was typed so far is dropped. Throws Error{kInvalidArgument} beyond 16 MiB.
  Result next(std::string& line);

  std::string rest();  // all that is left

 private:
  Result fill();

  int file_;
  std::string buffer_;
};

}  // namespace millrace
