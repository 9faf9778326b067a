// Tokens in, text and logprobs out.
#include "server/choice.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "server/input.h"

namespace millrace {

Choice::Choice(const TokenPieces& pieces, const ChoicePlan& plan)
    : text_(pieces, plan.text), plan_(plan) {}

void Choice::begin_with(std::string text, std::vector<AnswerToken> tokens) {
  text_begin_ = count_characters(text);
  untold_ = std::move(text);
  tokens_ = std::move(tokens);
}

bool Choice::take(GenerationChunk& chunk, const std::vector<int32_t>& stop_token_ids) {
  CHECK(!finished(), "a choice has ended");
  if (std::exchange(told_, false)) {
    tokens_.clear();
    ids_.clear();
  }
  const bool stops = chunk.finish_reason == FinishReason::kStop;
  for (size_t i = 0; i < chunk.tokens.size(); ++i) {
    if (plan_.discards) continue;
    GeneratedToken& token = chunk.tokens[i];
    const int32_t id = token.id;
    ++num_tokens_;
    sum_logprob_ += token.logprob;
    if (plan_.keeps_ids) ids_.push_back(id);
    if (plan_.keeps_tokens) {
      tokens_.push_back(
          {.token = std::move(token), .text_offset = text_begin_ + text_.num_characters()});
    }
    const bool ends = stops && i + 1 == chunk.tokens.size();
    untold_ += ends ? text_.add_end(id) : text_.add(id);
    if (ends && std::ranges::find(stop_token_ids, id) != stop_token_ids.end()) stop_reason_ = id;
    if (text_.stopped_by()) break;
  }
  if (chunk.finish_reason != FinishReason::kNone && !text_.stopped_by()) {
    finish_reason_ = plan_.discards ? FinishReason::kLength : chunk.finish_reason;
    untold_ += text_.finish();
  }
  const std::string* stop = text_.stopped_by();
  if (!stop) return false;
  const bool early = chunk.finish_reason == FinishReason::kNone;
  finish_reason_ = FinishReason::kStop;
  stop_reason_ = *stop;
  return early;
}

bool Choice::has_news() const {
  return !untold_.empty() || (finished() && !finish_told_) ||
         (!told_ && (!tokens_.empty() || !ids_.empty()));
}

AnswerChoice Choice::tell(size_t index) {
  AnswerChoice answer{.index = index,
                      .text = std::exchange(untold_, {}),
                      .finish_reason = finish_reason_,
                      .stop_reason = stop_reason_};
  finish_told_ = finished();
  if (!std::exchange(told_, true)) {
    answer.tokens = tokens_;
    answer.token_ids = ids_;
  }
  return answer;
}

double Choice::mean_logprob() const {
  if (num_tokens_ == 0) return -std::numeric_limits<double>::infinity();
  return sum_logprob_ / static_cast<double>(num_tokens_);
}

size_t Choice::untold_bytes() const {
  size_t bytes = untold_.size() + ids_.size() * sizeof(int32_t);
  if (!tokens_.empty()) {
    bytes += tokens_.size() * (sizeof(AnswerToken) +
                               tokens_.back().token.top.size() * sizeof(std::pair<int32_t, float>));
  }
  return bytes;
}

}  // namespace millrace
