// Detokenizer and StopStrings, one behind the other.
#include "server/choice_text.h"

#include "server/input.h"

namespace millrace {

ChoiceText::ChoiceText(const TokenPieces& pieces, ChoiceTextOptions options)
    : options_(std::move(options)),
      detokenizer_(pieces, options_.skip_special_tokens, options_.inside_text),
      stops_(options_.stop, options_.include_stop) {}

std::string ChoiceText::push(std::string_view piece) {
  num_characters_ += count_characters(piece);
  if (stops_.stopped_by() || piece.empty()) return {};
  return stops_.push(piece, num_tokens_ >= options_.min_tokens);
}

std::string ChoiceText::add(int32_t id) {
  ++num_tokens_;
  return push(detokenizer_.add(id));
}

std::string ChoiceText::add_end(int32_t id) {
  if (options_.include_stop) return add(id);
  ++num_tokens_;
  return {};
}

std::string ChoiceText::finish() {
  std::string text = push(detokenizer_.finish());
  if (!stops_.stopped_by()) text += stops_.finish();
  return text;
}

const std::string* ChoiceText::stopped_by() const {
  const auto index = stops_.stopped_by();
  return index ? &options_.stop[*index] : nullptr;
}

}  // namespace millrace
