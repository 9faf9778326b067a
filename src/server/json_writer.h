// Pieces of JSON text, appended; for answers that are long enough to be written without a tree.
#pragma once

#include <span>
#include <string>

namespace millrace {

// The shortest text that reads back as the same float. Requires a finite value.
void append_float(std::string& out, float value);

// "[0.25,-1]"
void append_floats(std::string& out, std::span<const float> values);

// Quoted base64 (RFC 4648 §4, with padding) of the little-endian bytes of the values.
void append_base64(std::string& out, std::span<const float> values);

}  // namespace millrace
