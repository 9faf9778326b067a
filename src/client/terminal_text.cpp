// UTF-8, one character after the other.
#include "client/terminal_text.h"

#include <fmt/format.h>

#include <cstdint>

namespace millrace {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The bytes of a character that begins with `lead`; 0 where none does.
size_t length_of(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

uint32_t decode(std::string_view bytes) {
  auto value =
      static_cast<unsigned char>(bytes[0]) & (bytes.size() == 1 ? 0x7Fu : 0x7Fu >> bytes.size());
  for (const char c : bytes.substr(1)) value = value << 6 | (static_cast<unsigned char>(c) & 0x3Fu);
  return value;
}

bool is_valid(uint32_t code, size_t length) {
  if (length == 3 && code < 0x800) return false;
  if (length == 4 && (code < 0x10000 || code > 0x10FFFF)) return false;
  return code < 0xD800 || code > 0xDFFF;
}

bool turns_direction(uint32_t code) {
  return code == 0x061C || code == 0x200E || code == 0x200F || (code >= 0x202A && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

void append(std::string& out, std::string_view bytes) {
  const uint32_t code = decode(bytes);
  if (!is_valid(code, bytes.size())) {
    out += kReplacement;
  } else if (code == '\n' || code == '\t') {
    out += bytes;
  } else if (code < 0x20 || code == 0x7F) {
    out += '^';
    out += static_cast<char>(code ^ 0x40);
  } else if ((code >= 0x80 && code < 0xA0) || turns_direction(code) || code == 0x2028 ||
             code == 0x2029) {
    out += fmt::format("<U+{:04X}>", code);
  } else {
    out += bytes;
  }
}

}  // namespace

std::string TerminalText::feed(std::string_view text) {
  std::string joined;
  if (!held_.empty()) {
    joined = held_ + std::string(text);
    held_.clear();
    text = joined;
  }
  std::string out;
  while (!text.empty()) {
    const size_t length = length_of(static_cast<unsigned char>(text[0]));
    size_t have = 1;
    while (have < length && have < text.size() && is_continuation(text[have])) ++have;
    if (length == 0 || (have < length && have < text.size())) {
      out += kReplacement;  // of all its bytes together
    } else if (have < length) {
      held_ = text;
      break;
    } else {
      append(out, text.substr(0, length));
    }
    text.remove_prefix(have);
  }
  return out;
}

std::string TerminalText::end() {
  if (held_.empty()) return {};
  held_.clear();
  return std::string(kReplacement);
}

}  // namespace millrace
