// MiniLM's own tokenizer gives the tokens that sentence-transformers saw (tests/golden/minilm).
#include <gtest/gtest.h>

#include <cstring>
#include <string_view>

#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "support/minilm.h"
#include "support/source_dir.h"
#include "text/tokenizer.h"

namespace millrace {
namespace {

std::vector<int32_t> read_ints(const SafetensorsFile& file, std::string_view name) {
  for (const SafetensorsEntry& entry : file.header().entries) {
    if (entry.name != name) continue;
    std::vector<int32_t> out((entry.end - entry.begin) / sizeof(int32_t));
    std::memcpy(out.data(), file.tensor(entry).data, out.size() * sizeof(int32_t));
    return out;
  }
  ADD_FAILURE() << "no tensor " << name << " in " << file.path();
  return {};
}

TEST(MiniLmTokenizer, EqualsSentenceTransformers) {
  const auto directory = test::find_minilm();
  if (!directory) MILLRACE_WITHOUT_MINILM();
  const Tokenizer tokenizer = Tokenizer::from_file(*directory / "tokenizer.json");
  EXPECT_EQ(tokenizer.vocab_size(), 30522);

  const std::string golden = test::source_dir().string() + "/tests/golden/";
  const json::value texts = json::parse_file(golden + "texts.json");
  const SafetensorsFile expected(golden + "minilm/expected.safetensors");
  const auto token_ids = read_ints(expected, "token_ids");
  const auto cu_seqlens = read_ints(expected, "cu_seqlens");
  const auto num_untruncated = read_ints(expected, "num_tokens_untruncated");
  ASSERT_EQ(num_untruncated.size(), texts.as_array().size());
  ASSERT_EQ(cu_seqlens.size(), num_untruncated.size() + 1);

  int num_truncated = 0;
  for (size_t i = 0; i < num_untruncated.size(); ++i) {
    const std::string_view text = texts.at(i).as_string();
    const Encoding encoding = tokenizer.encode(text, {.max_tokens = 256});
    SCOPED_TRACE(text.substr(0, 100));
    EXPECT_EQ(encoding.token_ids, std::vector(token_ids.begin() + cu_seqlens[i],
                                              token_ids.begin() + cu_seqlens[i + 1]));
    EXPECT_EQ(encoding.num_tokens_untruncated, num_untruncated[i]);
    num_truncated += encoding.truncated();
  }
  EXPECT_GT(num_truncated, 0);
}

}  // namespace
}  // namespace millrace
