// Fill in the middle: the prompt of a text between a prefix and a suffix, for models that learned
// to write one.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace millrace {

// The control tokens, in the order of the prompt: before the prefix, before the suffix, and where
// the middle is to be written.
struct FimTokens {
  int32_t prefix = 0;
  int32_t suffix = 0;
  int32_t middle = 0;
};

// Those of the families whose names are known; nothing where the tokenizer has none of them.
std::optional<FimTokens> find_fim_tokens(const Tokenizer& tokenizer);

std::vector<int32_t> fim_prompt(const FimTokens& tokens, const Tokenizer& tokenizer,
                                std::string_view prefix, std::string_view suffix);

}  // namespace millrace
