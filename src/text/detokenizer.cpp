// Joins pieces: plain, as bytes of UTF-8, or with runs of byte tokens.
#include "text/detokenizer.h"

#include <millrace_bridge.h>

#include "base/error.h"
#include "text/bridge_bytes.h"

namespace millrace {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The bytes of a character that begins with `lead`, 1 where none does.
size_t utf8_width(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 1;
}

// Table 3-7 of the Unicode standard: neither overlong forms, nor surrogates, nor beyond U+10FFFF.
bool continues(uint8_t lead, size_t place, uint8_t byte) {
  if (byte < 0x80 || byte > 0xBF) return false;
  if (place > 1) return true;
  switch (lead) {
    case 0xE0: return byte >= 0xA0;
    case 0xED: return byte <= 0x9F;
    case 0xF0: return byte >= 0x90;
    case 0xF4: return byte <= 0x8F;
    default: return true;
  }
}

std::string utf8(uint32_t code) {
  std::string out;
  const auto put = [&](uint32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
  return out;
}

}  // namespace

size_t append_utf8(std::string_view bytes, std::string& out) {
  size_t begin = 0;  // of what is not yet copied
  size_t i = 0;
  while (i < bytes.size()) {
    const auto lead = static_cast<uint8_t>(bytes[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t width = utf8_width(lead);
    size_t length = 1;
    while (length < width && i + length < bytes.size() &&
           continues(lead, length, static_cast<uint8_t>(bytes[i + length]))) {
      ++length;
    }
    if (width > 1 && length == width) {
      i += width;
      continue;
    }
    out.append(bytes.substr(begin, i - begin));
    begin = i;
    if (width > 1 && i + length == bytes.size()) return length;
    out.append(kReplacement);
    i += length;
    begin = i;
  }
  out.append(bytes.substr(begin));
  return 0;
}

struct TokenPieces::Table {
  ~Table() { mr_token_pieces_free(pieces.owner); }

  const MrTokenPiece* find(int32_t id) const {
    const auto place = static_cast<uint32_t>(id);
    if (place >= pieces.num_pieces || !pieces.pieces[place].exists) return nullptr;
    return &pieces.pieces[place];
  }
  std::string_view text(uint32_t begin, uint32_t end) const {
    return {reinterpret_cast<const char*>(pieces.text) + begin, end - begin};
  }

  MrTokenPieces pieces{};
  const Tokenizer* tokenizer = nullptr;
  std::string strip;  // UTF-8 of the character that is stripped
};

TokenPieces::TokenPieces(const Tokenizer& tokenizer) {
  MrTokenPieces made{};
  MrError error{};
  if (!mr_token_pieces(tokenizer.bridge(), &made, &error)) {
    throw Error(ErrorCode::kUnsupported, "tokenizer.json: " + take(error.message));
  }
  table_ = std::make_unique<Table>();
  table_->pieces = made;
  table_->tokenizer = &tokenizer;
  table_->strip = utf8(made.strip_char);
}

TokenPieces::~TokenPieces() = default;

std::string_view TokenPieces::bytes(int32_t id) const {
  const MrTokenPiece* piece = table_->find(id);
  return piece ? table_->text(piece->begin, piece->end) : std::string_view();
}

std::string TokenPieces::text(int32_t id) const {
  std::string out;
  if (append_utf8(bytes(id), out) > 0) out.append(kReplacement);
  return out;
}

bool TokenPieces::is_special(int32_t id) const {
  const MrTokenPiece* piece = table_->find(id);
  return piece && piece->special;
}

bool TokenPieces::streams() const {
  return table_->pieces.join != MR_PIECE_JOIN_WHOLE;
}

Detokenizer::Detokenizer(const TokenPieces& pieces, bool skip_special_tokens, bool inside_text)
    : pieces_(&pieces),
      skip_special_tokens_(skip_special_tokens),
      first_(!inside_text),
      strip_left_(inside_text ? 0 : pieces.table_->pieces.strip_count) {}

std::string_view Detokenizer::add(int32_t id) {
  const TokenPieces::Table& table = *pieces_->table_;
  out_.clear();
  const MrTokenPiece* piece = table.find(id);
  if (!piece || (piece->special && skip_special_tokens_)) return {};
  const std::string_view text = first_ ? table.text(piece->first_begin, piece->first_end)
                                       : table.text(piece->begin, piece->end);
  first_ = false;
  switch (table.pieces.join) {
    case MR_PIECE_JOIN_TEXT: out_.append(text); break;
    case MR_PIECE_JOIN_BYTES: append_bytes(text); break;
    case MR_PIECE_JOIN_BYTE_FALLBACK:
      if (piece->is_byte) {
        pending_.append(text);
        return {};
      }
      end_byte_run();
      out_.append(text);
      break;
    case MR_PIECE_JOIN_WHOLE: ids_.push_back(id); break;
  }
  if (strip_left_ > 0) strip_beginning();
  return out_;
}

std::string_view Detokenizer::finish() {
  out_.clear();
  switch (pieces_->table_->pieces.join) {
    case MR_PIECE_JOIN_TEXT: break;
    case MR_PIECE_JOIN_BYTES:
      if (!pending_.empty()) out_.append(kReplacement);
      break;
    case MR_PIECE_JOIN_BYTE_FALLBACK: end_byte_run(); break;
    case MR_PIECE_JOIN_WHOLE:
      out_ = pieces_->table_->tokenizer->decode(ids_, skip_special_tokens_);
      break;
  }
  pending_.clear();
  if (strip_left_ > 0) strip_beginning();
  return out_;
}

void Detokenizer::append_bytes(std::string_view bytes) {
  if (pending_.empty()) {
    const size_t held = append_utf8(bytes, out_);
    pending_.assign(bytes.substr(bytes.size() - held));
    return;
  }
  pending_.append(bytes);
  const size_t held = append_utf8(pending_, out_);
  pending_.erase(0, pending_.size() - held);
}

// A run that is not UTF-8 as a whole gives one replacement character a byte.
void Detokenizer::end_byte_run() {
  if (pending_.empty()) return;
  const size_t before = out_.size();
  size_t replaced = append_utf8(pending_, out_);
  replaced |= out_.size() - before != pending_.size() || out_.substr(before) != pending_;
  if (replaced) {
    out_.resize(before);
    for (size_t i = 0; i < pending_.size(); ++i) out_.append(kReplacement);
  }
  pending_.clear();
}

void Detokenizer::strip_beginning() {
  const std::string& strip = pieces_->table_->strip;
  size_t begin = 0;
  while (strip_left_ > 0 && begin < out_.size()) {
    if (out_.compare(begin, strip.size(), strip) != 0) {
      strip_left_ = 0;
      break;
    }
    begin += strip.size();
    --strip_left_;
  }
  out_.erase(0, begin);
}

}  // namespace millrace
