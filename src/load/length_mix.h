// How long the inputs of a load are: weighted ranges of tokens.
#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

// "5": all inputs have 5 tokens. "5-510": uniform in the range, ends included. "5:9,200-510:1":
// nine times in ten 5 tokens, else 200 to 510.
class LengthMix {
 public:
  // Throws Error{kInvalidArgument} with the accepted forms. Lengths are 1 to 100,000.
  explicit LengthMix(std::string_view text);

  int draw(std::mt19937_64& random) const;

  // `count` lengths from the shortest to the longest, evenly spread over all the ranges' ends.
  std::vector<int> spread(size_t count) const;

  int min() const;
  int max() const;
  const std::string& text() const { return text_; }

 private:
  struct Range {
    int first = 1;
    int last = 1;
    double weight = 1;
  };

  std::string text_;
  std::vector<Range> ranges_;
};

}  // namespace millrace
