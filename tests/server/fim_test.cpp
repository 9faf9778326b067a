// Prompts of a text between a prefix and a suffix.
#include "server/fim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

using testing::ElementsAre;

// The demo model's tokenizer, some of whose control tokens have other names.
Tokenizer with_tokens(const std::vector<std::pair<std::string, std::string>>& names) {
  json::value file =
      json::parse_file(test::source_dir().string() + "/examples/demo-model/tokenizer.json");
  for (json::value& token : file.at("added_tokens").as_array()) {
    for (const auto& [from, to] : names) {
      if (token.at("content") == json::value(from)) token.at("content") = to;
    }
  }
  return Tokenizer::from_json(json::to_text(file));
}

TEST(Fim, ModelsWithoutTokensHaveNone) {
  EXPECT_FALSE(find_fim_tokens(with_tokens({})));
  EXPECT_FALSE(find_fim_tokens(
      with_tokens({{"<tool_call>", "<fim_prefix>"}, {"</tool_call>", "<fim_suffix>"}})));
}

TEST(Fim, PutsPrefixAndSuffixBehindTheirTokens) {
  const Tokenizer tokenizer = with_tokens({{"<tool_call>", "<fim_prefix>"},
                                           {"</tool_call>", "<fim_suffix>"},
                                           {"<tool_response>", "<fim_middle>"}});
  const auto tokens = find_fim_tokens(tokenizer);
  ASSERT_TRUE(tokens);
  EXPECT_THAT((std::vector<int32_t>{tokens->prefix, tokens->suffix, tokens->middle}),
              ElementsAre(3066, 3067, 3068));
  const auto ids = [&](std::string_view text) {
    return tokenizer.encode(text, {.add_special_tokens = false}).token_ids;
  };
  ASSERT_EQ(ids("a").size(), 1u);
  ASSERT_EQ(ids("7").size(), 1u);
  EXPECT_THAT(fim_prompt(*tokens, tokenizer, "a", "7"),
              ElementsAre(3066, ids("a")[0], 3067, ids("7")[0], 3068));
}

}  // namespace
}  // namespace millrace
