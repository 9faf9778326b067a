// Numbers and base64 as JSON text.
#include "server/json_writer.h"

#include <array>
#include <bit>
#include <charconv>
#include <cstdint>

namespace millrace {

static_assert(std::endian::native == std::endian::little);

void append_float(std::string& out, float value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), end);
}

void append_floats(std::string& out, std::span<const float> values) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_float(out, values[i]);
  }
  out += ']';
}

void append_base64(std::string& out, std::span<const float> values) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto bytes = std::as_bytes(values);
  const auto at = [&](size_t i) { return static_cast<uint32_t>(bytes[i]); };
  out += '"';
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    const std::array four = {kAlphabet[group >> 18], kAlphabet[group >> 12 & 63],
                             kAlphabet[group >> 6 & 63], kAlphabet[group & 63]};
    out.append(four.data(), four.size());
  }
  if (const size_t left = bytes.size() - i; left > 0) {
    const uint32_t group = at(i) << 16 | (left == 2 ? at(i + 1) << 8 : 0);
    out += kAlphabet[group >> 18];
    out += kAlphabet[group >> 12 & 63];
    out += left == 2 ? kAlphabet[group >> 6 & 63] : '=';
    out += '=';
  }
  out += '"';
}

}  // namespace millrace
