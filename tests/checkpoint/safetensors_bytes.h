// safetensors files from a header and a number of data bytes, right or wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::test {

// A little-endian length as it stands before the header.
inline std::string length_bytes(uint64_t length) {
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(length >> (8 * i));
  return out;
}

// The header, and data bytes 0, 1, 2, ...
inline std::string safetensors_bytes(std::string_view header, size_t data_bytes) {
  std::string out = length_bytes(header.size()) + std::string(header);
  for (size_t i = 0; i < data_bytes; ++i) out += static_cast<char>(i);
  return out;
}

}  // namespace millrace::test
