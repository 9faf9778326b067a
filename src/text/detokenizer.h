// Token ids to text while they come: what is certain at once, and exactly the text of all ids at
// the end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace millrace {

// What each token of a vocabulary adds to a text. Made once for a model that generates (0.1 s for
// 150,000 tokens), then read by any number of threads. Ids that are no tokens have empty pieces.
class TokenPieces {
 public:
  // Keeps a reference to the tokenizer. Throws Error{kUnsupported} for ids above 16 million.
  explicit TokenPieces(const Tokenizer& tokenizer);
  ~TokenPieces();
  TokenPieces(const TokenPieces&) = delete;
  TokenPieces& operator=(const TokenPieces&) = delete;

  // Of one token inside a text: its bytes, which may be a part of a character, and the same as
  // text, with replacement characters for what is none.
  std::string_view bytes(int32_t id) const;
  std::string text(int32_t id) const;
  bool is_special(int32_t id) const;
  // Whether pieces can be streamed; with a decoder that looks at all tokens together (CTC, the one
  // of BPE with a suffix) a Detokenizer gives all text at the end.
  bool streams() const;

 private:
  friend class Detokenizer;
  struct Table;
  std::unique_ptr<Table> table_;
};

// One text in the making. What add() and finish() return, one after the other, is exactly
// Tokenizer::decode(ids, skip_special_tokens): never a part of a character, never a replacement
// character that the whole does not have. Held back is what later tokens may change: the beginning
// of a character, and a run of byte tokens (<0x41>) until another token ends it.
// The cost of a token is that of copying its text. A copy continues on its own, as n > 1 needs.
class Detokenizer {
 public:
  // `pieces` outlives it. `inside_text`: other tokens come before these in the text, so that a
  // space at the beginning stays; a decoder whose pieces cannot be streamed does not know.
  explicit Detokenizer(const TokenPieces& pieces, bool skip_special_tokens = true,
                       bool inside_text = false);

  // The text that has become certain; valid until the next call.
  std::string_view add(int32_t id);
  // The rest. No add() after it.
  std::string_view finish();

 private:
  void append_bytes(std::string_view bytes);
  void end_byte_run();
  void strip_beginning();

  const TokenPieces* pieces_;
  bool skip_special_tokens_;
  bool first_;                // no token yet
  size_t strip_left_;         // characters that may still be dropped at the beginning
  std::string pending_;       // the beginning of a character, or a run of bytes
  std::string out_;           // what the last call returned
  std::vector<int32_t> ids_;  // all of them, where pieces cannot be streamed
};

// Appends `bytes` to `out` as UTF-8, with one replacement character for each maximal part of a
// character that is not continued (Unicode 15, 3.9, as Rust and Python read). Returns how many
// bytes at the end are the beginning of a character: those are left out.
size_t append_utf8(std::string_view bytes, std::string& out);

}  // namespace millrace
