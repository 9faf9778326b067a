// What is streamed is what decoding the whole gives, token by token and for every decoder.
#include "text/detokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "support/source_dir.h"

namespace millrace {
namespace {

using testing::ElementsAre;

std::string path_of(const std::string& name) {
  const std::string root = test::source_dir().string();
  if (name == "bert") return root + "/tests/golden/bert_mean/tokenizer.json";
  if (name == "demo") return root + "/examples/demo-model/tokenizer.json";
  return root + "/tests/text/tokenizers/" + name + ".json";
}

// A tokenizer with another decoder; "null": none.
Tokenizer with_decoder(const std::string& name, std::string_view decoder) {
  json::value file = json::parse_file(path_of(name));
  file.as_object()["decoder"] = json::parse(decoder, "the decoder");
  return Tokenizer::from_json(json::to_text(file));
}

constexpr std::string_view kReplaceSpace =
    R"({"type":"Replace","pattern":{"String":"\u2581"},"content":" "})";

// Decoders of every kind, over vocabularies that give them something to do.
std::vector<std::pair<std::string, Tokenizer>> tokenizers() {
  std::vector<std::pair<std::string, Tokenizer>> out;
  for (const std::string name : {"bert", "roberta", "unigram", "fallback", "llama", "demo"})
    out.emplace_back(name, Tokenizer::from_file(path_of(name)));
  const auto add = [&](const std::string& name, const std::string& base, std::string_view decoder) {
    out.emplace_back(name, with_decoder(base, decoder));
  };
  add("no decoder", "demo", "null");
  add("gemma", "llama",
      fmt::format(
          R"({{"type":"Sequence","decoders":[{},{{"type":"ByteFallback"}},{{"type":"Fuse"}}]}})",
          kReplaceSpace));
  add("metaspace with byte fallback", "llama",
      R"({"type":"Sequence","decoders":[{"type":"Metaspace","replacement":"\u2581",)"
      R"("prepend_scheme":"always","split":true},{"type":"ByteFallback"},{"type":"Fuse"}]})");
  add("strips more", "llama",
      fmt::format(R"({{"type":"Sequence","decoders":[{},{{"type":"Fuse"}},)"
                  R"({{"type":"Strip","content":" ","start":3,"stop":0}}]}})",
                  kReplaceSpace));
  add("byte level in a sequence", "roberta",
      R"({"type":"Sequence","decoders":[{"type":"ByteLevel","add_prefix_space":true,)"
      R"("trim_offsets":true,"use_regex":true},{"type":"Fuse"}]})");
  add("word pieces as they are", "bert", R"({"type":"WordPiece","prefix":"##","cleanup":false})");
  // Not streamed: known at the end.
  add("suffix", "fallback", R"({"type":"BPEDecoder","suffix":"e"})");
  add("strips the end", "llama",
      fmt::format(R"({{"type":"Sequence","decoders":[{},{{"type":"Fuse"}},)"
                  R"({{"type":"Replace","pattern":{{"Regex":"e +"}},"content":"-"}}]}})",
                  kReplaceSpace));
  return out;
}

bool is_utf8(std::string_view text) {
  std::string out;
  return append_utf8(text, out) == 0 && out == text;
}

std::string stream(const TokenPieces& pieces, const std::vector<int32_t>& ids, bool skip) {
  Detokenizer detokenizer(pieces, skip);
  std::string out;
  for (int32_t id : ids) {
    const std::string_view text = detokenizer.add(id);
    EXPECT_TRUE(is_utf8(text));
    out.append(text);
  }
  const std::string_view rest = detokenizer.finish();
  EXPECT_TRUE(is_utf8(rest));
  return out.append(rest);
}

// Uniform ids give broken characters; runs of bytes and of few ids give runs and repetitions.
std::vector<int32_t> random_ids(std::mt19937& random, const Tokenizer& tokenizer,
                                const std::vector<int32_t>& odd) {
  const auto size = static_cast<uint32_t>(tokenizer.max_token_id() + 1);
  std::vector<int32_t> ids(random() % 24);
  const uint32_t mode = random() % 3;
  const uint32_t few = 1 + random() % 8;
  for (int32_t& id : ids) {
    if (mode == 0 || odd.empty() || random() % 4 == 0)
      id = static_cast<int32_t>(random() % (size + 2)) - 1;  // one too small, one too large
    else if (mode == 1)
      id = odd[random() % odd.size()];
    else
      id = odd[random() % std::min<size_t>(few, odd.size())];
  }
  return ids;
}

// Tokens that are no whole text by themselves: bytes of characters, and special ones.
std::vector<int32_t> odd_tokens(const Tokenizer& tokenizer, const TokenPieces& pieces) {
  std::vector<int32_t> odd;
  for (int32_t id = 0; id <= tokenizer.max_token_id(); ++id) {
    const std::string token = tokenizer.id_to_token(id).value_or("");
    if (!is_utf8(pieces.bytes(id)) || pieces.is_special(id) || token.starts_with("<0x"))
      odd.push_back(id);
  }
  return odd;
}

TEST(Detokenizer, StreamsWhatTheWholeGives) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  int num_sequences = 0;
  for (const auto& [name, tokenizer] : tokenizers()) {
    SCOPED_TRACE(name);
    const TokenPieces pieces(tokenizer);
    const std::vector<int32_t> odd = odd_tokens(tokenizer, pieces);
    for (int i = 0; i < 4000; ++i) {
      const std::vector<int32_t> ids = random_ids(random, tokenizer, odd);
      for (const bool skip : {true, false}) {
        ASSERT_EQ(stream(pieces, ids, skip), tokenizer.decode(ids, skip))
            << fmt::format("ids {}, skip_special_tokens {}", fmt::join(ids, " "), skip);
        ++num_sequences;
      }
    }
  }
  EXPECT_GE(num_sequences, 100'000);
}

// Nothing is kept back without need: text arrives with its token.
TEST(Detokenizer, GivesTextAtOnce) {
  for (const auto& [name, tokenizer] : tokenizers()) {
    SCOPED_TRACE(name);
    const TokenPieces pieces(tokenizer);
    EXPECT_EQ(pieces.streams(), name != "suffix" && name != "strips the end");
    if (!pieces.streams()) continue;
    const auto ids = tokenizer.encode("the mill and the wheel", {.add_special_tokens = false});
    Detokenizer detokenizer(pieces);
    std::string text;
    for (int32_t id : ids.token_ids) text.append(detokenizer.add(id));
    EXPECT_EQ(text, tokenizer.decode(ids.token_ids));
    EXPECT_EQ(detokenizer.finish(), "");
  }
}

TEST(Detokenizer, WaitsForTheRestOfACharacter) {
  const Tokenizer tokenizer = Tokenizer::from_file(path_of("roberta"));
  const TokenPieces pieces(tokenizer);
  const std::vector<int32_t> ids =
      tokenizer.encode("\xf1\x80\x80\x80!", {.add_special_tokens = false}).token_ids;
  ASSERT_EQ(ids.size(), 5);
  Detokenizer detokenizer(pieces);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(detokenizer.add(ids[i]), "");
  Detokenizer other = detokenizer;  // a second continuation
  EXPECT_EQ(detokenizer.add(ids[3]), "\xf1\x80\x80\x80");
  EXPECT_EQ(detokenizer.add(ids[4]), "!");
  EXPECT_EQ(other.add(ids[4]), "\xef\xbf\xbd!");
}

// One bad byte in a run of byte tokens turns all of the run into replacement characters.
TEST(Detokenizer, WaitsForTheEndOfARunOfBytes) {
  const Tokenizer tokenizer = Tokenizer::from_file(path_of("llama"));
  const TokenPieces pieces(tokenizer);
  const auto byte = [&](int value) {
    return tokenizer.token_to_id(fmt::format("<0x{:02X}>", value)).value();
  };
  const int32_t end = tokenizer.token_to_id("<|im_end|>").value();
  Detokenizer good(pieces, false);
  for (int value : {0xC3, 0xA9, 0x21}) EXPECT_EQ(good.add(byte(value)), "");
  EXPECT_EQ(good.add(end), "\xc3\xa9!<|im_end|>");
  Detokenizer bad(pieces, true);
  for (int value : {0xC3, 0xA9, 0xFF}) EXPECT_EQ(bad.add(byte(value)), "");
  EXPECT_EQ(bad.add(end), "");  // skipped: the run goes on
  EXPECT_EQ(bad.finish(), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

TEST(TokenPieces, KnowsOneToken) {
  const Tokenizer tokenizer = Tokenizer::from_file(path_of("llama"));
  const TokenPieces pieces(tokenizer);
  const int32_t byte = tokenizer.token_to_id("<0xE2>").value();
  EXPECT_EQ(pieces.bytes(byte), "\xe2");
  EXPECT_EQ(pieces.text(byte), "\xef\xbf\xbd");
  EXPECT_EQ(pieces.text(tokenizer.token_to_id("\xe2\x96\x81").value()), " ");
  EXPECT_TRUE(pieces.is_special(tokenizer.token_to_id("<|im_end|>").value()));
  EXPECT_FALSE(pieces.is_special(tokenizer.token_to_id("<tool_call>").value()));
  EXPECT_EQ(pieces.text(tokenizer.token_to_id("<tool_call>").value()), "<tool_call>");
  for (int32_t id : {-1, tokenizer.max_token_id() + 1, std::numeric_limits<int32_t>::max()}) {
    EXPECT_EQ(pieces.bytes(id), "");
    EXPECT_FALSE(pieces.is_special(id));
  }
}

TEST(TokenPieces, RefusesIdsFarApart) {
  const Tokenizer tokenizer = Tokenizer::from_json(
      R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,)"
      R"("pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,)"
      R"("model":{"type":"WordLevel","vocab":{"a":0,"b":2147483647},"unk_token":"a"}})");
  EXPECT_THROW(TokenPieces{tokenizer}, Error);
}

// Against the table of the Unicode standard: maximal parts, one replacement character each.
TEST(AppendUtf8, ReplacesMaximalParts) {
  const auto decoded = [](std::string_view bytes) {
    std::string out;
    const size_t held = append_utf8(bytes, out);
    return std::pair(out, held);
  };
  const std::string r = "\xef\xbf\xbd";
  using testing::Pair;
  EXPECT_THAT(decoded("a\xc3\xa9z"), Pair("a\xc3\xa9z", 0));
  EXPECT_THAT(decoded("\xe2\x96"), Pair("", 2));
  EXPECT_THAT(decoded("\xe2\x96z"), Pair(r + "z", 0));
  EXPECT_THAT(decoded("\xed\xa0\x80"), Pair(r + r + r, 0));  // a surrogate
  EXPECT_THAT(decoded("\xc0\xaf"), Pair(r + r, 0));          // overlong
  EXPECT_THAT(decoded("\xf0\x80\x80\x80"), Pair(r + r + r + r, 0));
  EXPECT_THAT(decoded("\xf4\x90\x80\x80"), Pair(r + r + r + r, 0));  // beyond U+10FFFF
  EXPECT_THAT(decoded("\xf0\x9f\x98\xf0\x9f"), Pair(r, 2));
  EXPECT_THAT(decoded("\x80\xff"), Pair(r + r, 0));
}

TEST(Detokenizer, KeepsTheSpaceInsideAText) {
  const Tokenizer tokenizer = Tokenizer::from_file(path_of("llama"));
  const TokenPieces pieces(tokenizer);
  std::string beginning, inside;
  Detokenizer first(pieces);
  Detokenizer later(pieces, true, true);
  for (const int32_t id : tokenizer.encode("the cat", {.add_special_tokens = false}).token_ids) {
    beginning += first.add(id);
    inside += later.add(id);
  }
  EXPECT_EQ(beginning += first.finish(), "the cat");
  EXPECT_EQ(inside += later.finish(), " the cat");
}

}  // namespace
}  // namespace millrace
