// Names of control tokens: as the families' tokenizers have them.
#include "server/fim.h"

#include <array>

namespace millrace {

namespace {

struct Names {
  std::string_view prefix;
  std::string_view suffix;
  std::string_view middle;
};

constexpr std::array kFamilies = {
    Names{"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},  // Qwen coder, CodeGemma
    Names{"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},        // StarCoder, Granite code
    Names{"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},        // SantaCoder
    Names{"▁<PRE>", "▁<SUF>", "▁<MID>"},                          // CodeLlama
    Names{"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},  // DeepSeek coder
};

}  // namespace

std::optional<FimTokens> find_fim_tokens(const Tokenizer& tokenizer) {
  for (const Names& names : kFamilies) {
    const auto prefix = tokenizer.token_to_id(names.prefix);
    const auto suffix = tokenizer.token_to_id(names.suffix);
    const auto middle = tokenizer.token_to_id(names.middle);
    if (prefix && suffix && middle)
      return FimTokens{.prefix = *prefix, .suffix = *suffix, .middle = *middle};
  }
  return std::nullopt;
}

std::vector<int32_t> fim_prompt(const FimTokens& tokens, const Tokenizer& tokenizer,
                                std::string_view prefix, std::string_view suffix) {
  std::vector<int32_t> ids{tokens.prefix};
  const auto append = [&](std::string_view text) {
    const Encoding encoding = tokenizer.encode(text, {.add_special_tokens = false});
    ids.insert(ids.end(), encoding.token_ids.begin(), encoding.token_ids.end());
  };
  append(prefix);
  ids.push_back(tokens.suffix);
  append(suffix);
  ids.push_back(tokens.middle);
  return ids;
}

}  // namespace millrace
