// Bytes to and from the bridge. Includes its header: for .cpp files only.
#pragma once

#include <millrace_bridge.h>

#include <string>
#include <string_view>

namespace millrace {

inline MrSlice as_slice(std::string_view bytes) {
  return {.data = reinterpret_cast<const uint8_t*>(bytes.data()), .size = bytes.size()};
}

// Moves the text of a buffer out of the bridge.
inline std::string take(MrBuffer buffer) {
  std::string text(reinterpret_cast<const char*>(buffer.data), buffer.size);
  mr_buffer_free(buffer);
  return text;
}

}  // namespace millrace
