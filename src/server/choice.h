// Choice: one of the texts that a request is answered with, while it grows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "server/answer_writer.h"

namespace millrace {

// What a choice of its kind keeps.
struct ChoicePlan {
  ChoiceTextOptions text;
  bool keeps_tokens = false;  // for logprobs
  bool keeps_ids = false;     // for token_ids
  bool discards = false;      // the prompt alone is wanted: what is drawn is not shown
};

class Choice {
 public:
  Choice(const TokenPieces& pieces, const ChoicePlan& plan);

  // What stands before the output: an echoed prompt.
  void begin_with(std::string text, std::vector<AnswerToken> tokens);

  // Takes the tokens of a chunk. Returns true when a stop string ended the choice: the engine need
  // not go on. Not to be called once it has finished.
  bool take(GenerationChunk& chunk, const std::vector<int32_t>& stop_token_ids);

  // What was not told yet, as choice `index`; afterwards it counts as told. Views live until the
  // next take().
  AnswerChoice tell(size_t index);
  bool has_news() const;  // something that is worth a chunk

  bool finished() const { return finish_reason_ != FinishReason::kNone; }
  FinishReason finish_reason() const { return finish_reason_; }
  int64_t num_tokens() const { return num_tokens_; }
  double mean_logprob() const;  // of its tokens, where logprobs were asked for
  size_t untold_bytes() const;  // about what it holds

 private:
  ChoiceText text_;
  ChoicePlan plan_;
  std::string untold_;
  std::vector<AnswerToken> tokens_;
  std::vector<int32_t> ids_;
  bool told_ = false;  // the tokens and ids above
  bool finish_told_ = false;
  int64_t num_tokens_ = 0;
  int64_t text_begin_ = 0;  // characters of what it began with
  double sum_logprob_ = 0;
  FinishReason finish_reason_ = FinishReason::kNone;
  StopReason stop_reason_;
};

}  // namespace millrace
