// JSON as MessagePack, through the Rust bridge.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Numbers with a fraction become 32-bit floats: answers hold what a model computed in 32 bits.
// Requires valid JSON of our own making.
std::string to_message_pack(std::string_view json);

}  // namespace millrace
