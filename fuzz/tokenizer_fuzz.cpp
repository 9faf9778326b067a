// Fuzzes tokenizer files and texts: the input is a tokenizer.json, a zero byte, and a text.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"

using namespace millrace;

// What holds of every encoding, whatever the file says.
static void check_encoding(const Tokenizer& tokenizer, std::string_view text,
                           const Encoding& encoding, int max_tokens) {
  CHECK(encoding.token_ids.size() == encoding.token_type_ids.size());
  CHECK(encoding.token_ids.size() == encoding.spans.size());
  CHECK(max_tokens == 0 || encoding.num_tokens() <= max_tokens);
  CHECK(encoding.num_tokens() <= encoding.num_tokens_untruncated);
  for (int32_t id : encoding.token_ids) CHECK(0 <= id && id <= tokenizer.max_token_id());
  for (const TokenSpan& span : encoding.spans) {
    CHECK(0 <= span.begin && span.end <= static_cast<int32_t>(text.size()));
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  const std::string_view file = input.substr(0, zero);
  const std::string_view text =
      zero == std::string_view::npos ? "the mill" : input.substr(zero + 1);

  std::optional<Tokenizer> tokenizer;
  try {
    tokenizer.emplace(Tokenizer::from_json(file));
  } catch (const Error&) {
    return 0;
  }
  for (int max_tokens : {0, 1, 7}) {
    Encoding encoding;
    try {
      encoding = tokenizer->encode_pair(text, "pair",
                                        {.max_tokens = max_tokens, .offsets = OffsetUnit::kBytes});
      tokenizer->decode(encoding.token_ids);
    } catch (const std::exception&) {
      // Text that is not UTF-8, or a file so odd that the library panics: caught at the border.
      continue;
    }
    check_encoding(*tokenizer, text, encoding, max_tokens);
  }
  return 0;
}
