// Text to token ids and back, as the model's tokenizer.json says; thin over the Rust bridge.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct MrTokenizer;  // of the bridge

namespace millrace {

// Which end of the text stays when it is longer than max_tokens.
enum class TruncationDirection {
  kRight,  // cut at the end: the beginning stays
  kLeft,   // cut at the beginning: the end stays
};

// Whether an encoding says where in the text its tokens stand, and in which unit.
enum class OffsetUnit {
  kNone,
  kBytes,       // of the UTF-8 text
  kCharacters,  // Unicode code points: what Python indexes by
};

struct EncodeOptions {
  int max_tokens = 0;  // special tokens included; 0: no limit. A pair is cut longest text first
  TruncationDirection truncation_direction = TruncationDirection::kRight;
  bool add_special_tokens = true;  // [CLS], [SEP] and their like
  OffsetUnit offsets = OffsetUnit::kNone;
};

// Where a token stands in its text: [begin, end) in the unit asked for; empty for special tokens.
struct TokenSpan {
  int32_t begin = 0;
  int32_t end = 0;
  bool special = false;  // added by the tokenizer, no part of the text

  bool operator==(const TokenSpan&) const = default;
};

struct Encoding {
  std::vector<int32_t> token_ids;       // [num_tokens]
  std::vector<int32_t> token_type_ids;  // [num_tokens]: 0 first text, 1 second, as the model reads
  std::vector<TokenSpan> spans;         // [num_tokens] when EncodeOptions::offsets asks, else empty
  int num_tokens_untruncated = 0;       // special tokens included

  int num_tokens() const { return static_cast<int>(token_ids.size()); }
  bool truncated() const { return num_tokens() < num_tokens_untruncated; }
};

// A loaded tokenizer.json. Immutable: any number of threads may encode and decode at once.
// Truncation and padding written inside the file are switched off; callers say what they want.
class Tokenizer {
 public:
  static constexpr size_t kMaxFileBytes = 64 * 1024 * 1024;
  // Of one text. The library needs up to 400 bytes and 2.5 us per byte of text (punctuation only).
  static constexpr size_t kMaxTextBytes = 4 * 1024 * 1024;

  // Throws Error{kNotFound, kIo, kCorrupt}.
  static Tokenizer from_file(const std::string& path);
  // `what` names the source in errors.
  static Tokenizer from_json(std::string_view bytes, std::string_view what = "tokenizer.json");

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Throw Error{kInvalidArgument}: text that is not UTF-8 or is larger than kMaxTextBytes,
  // max_tokens too small for the special tokens alone.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_pair(std::string_view text, std::string_view pair,
                       const EncodeOptions& options = {}) const;

  // The text of these ids. Ids outside the vocabulary are skipped, as the reference does.
  std::string decode(std::span<const int32_t> token_ids, bool skip_special_tokens = true) const;

  int vocab_size() const;        // entries, added tokens included
  int32_t max_token_id() const;  // no encoding holds a larger one
  // Special tokens that encode (or encode_pair) puts around the text.
  int num_special_tokens(bool pair = false) const;
  std::optional<int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(int32_t id) const;

  const MrTokenizer* bridge() const;  // for the neighbours in this folder

 private:
  struct Handle;
  explicit Tokenizer(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

}  // namespace millrace
