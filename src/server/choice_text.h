// ChoiceText: the text of one choice while its tokens come, up to its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "runtime/generation.h"
#include "runtime/stop_strings.h"
#include "text/detokenizer.h"

namespace millrace {

struct ChoiceTextOptions {
  bool skip_special_tokens = true;
  std::vector<std::string> stop = {};
  bool include_stop = false;  // stop strings, and end tokens, are part of the text
  int64_t min_tokens = 0;     // before, nothing ends it
  bool inside_text = false;   // the text goes on where a prompt ends
};

// What ended a choice beside an end token of the model's own: a stop string, or a stop token.
using StopReason = std::variant<std::monostate, std::string, int32_t>;

// All that add() and finish() return, joined, is the text; a part of it may be sent at once.
class ChoiceText {
 public:
  ChoiceText(const TokenPieces& pieces, ChoiceTextOptions options);

  // The text that a token makes certain. Not to be called once it has stopped.
  std::string add(int32_t id);

  // `id` ended the choice: its text is left out, unless it is to be included.
  std::string add_end(int32_t id);

  // What was held back, where no stop string ended the text.
  std::string finish();

  // The stop string that ended the text.
  const std::string* stopped_by() const;

  int64_t num_tokens() const { return num_tokens_; }
  // Characters (code points) that the tokens so far have made certain.
  int64_t num_characters() const { return num_characters_; }

 private:
  std::string push(std::string_view piece);

  ChoiceTextOptions options_;
  Detokenizer detokenizer_;
  StopStrings stops_;
  int64_t num_tokens_ = 0;
  int64_t num_characters_ = 0;
};

}  // namespace millrace
